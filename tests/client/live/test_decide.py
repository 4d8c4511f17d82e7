"""Each kind of object gets a new image the way that is right for it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kitbag.live import Action, Choices, Decision, Wanted, decide
from kitbag.refs import EnvRef
from kitbag.specs import builtin, extended

EXAMPLE = Path(__file__).parents[3] / "examples/3dgan/k8s"
OLD = "registry.example.org/hep/3dgan@sha256:" + "1" * 64
NEW = "registry.example.org/hep/3dgan@sha256:" + "2" * 64
ENV = EnvRef.parse("hep/3dgan:7")
WANTED = Wanted(NEW, ENV)
TRUE = {"status": "True"}


def template(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": [*containers]}}


def item(kind: str, api: str, spec: Any, status: Any = None, **metadata: Any) -> dict[str, Any]:
    made = {"apiVersion": api, "kind": kind, "metadata": {"name": "gan", "namespace": "hep"}}
    made["metadata"] |= metadata
    return made | {"spec": spec} | ({"status": status} if status else {})


def tfjob(status: Any = None, **policy: Any) -> dict[str, Any]:
    spec = {
        "runPolicy": policy,
        "tfReplicaSpecs": {
            role: {"replicas": 2, "template": template({"name": "tensorflow", "image": OLD})}
            for role in ("Chief", "Worker")
        },
    }
    return item("TFJob", "kubeflow.org/v1", spec, status)


def notebook(**annotations: str) -> dict[str, Any]:
    spec = {"template": template({"name": "gan", "image": OLD})}
    return item("Notebook", "kubeflow.org/v1", spec, annotations=annotations)


def deployment(*images: str, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": f"c{i}", "image": image} for i, image in enumerate(images)]
    return item("Deployment", "apps/v1", {"template": template(*containers)}, **metadata)


def texts(decision: Decision) -> str:
    return json.dumps(decision.after)


def test_a_stopped_notebook_is_patched_and_a_running_one_waits_for_it():
    stopped = notebook(**{"kubeflow-resource-stopped": "2026-11-01T00:00:00Z"})
    assert decide(stopped, WANTED).action is Action.PATCH
    running = decide(notebook(), WANTED)
    assert running.action is Action.WAIT
    assert "stop the notebook server" in running.say
    assert "--restart" in running.say
    assert decide(notebook(), WANTED, Choices(restart=True)).action is Action.PATCH


def test_a_suspended_training_job_with_no_pods_is_patched_in_every_replica():
    decision = decide(tfjob(suspend=True), WANTED)
    assert decision.action is Action.PATCH
    assert decision.paths == tuple(
        f"spec.tfReplicaSpecs.{role}.template.spec.containers[0].image"
        for role in ("Chief", "Worker")
    )
    assert OLD not in texts(decision)
    assert decision.before == (OLD,)


@pytest.mark.parametrize(
    ("job", "pods"),
    [
        (tfjob(), 0),
        (tfjob(suspend=False), 0),
        (tfjob({"replicaStatuses": {"Chief": {"active": 0}, "Worker": {"active": 1}}}), 2),
        (tfjob({"replicaStatuses": {"Worker": {"active": 1}}}, suspend=True), 0),
        (tfjob(suspend=True), 3),
    ],
)
def test_a_training_job_that_may_have_pods_never_mixes_two_digests(job, pods):
    decision = decide(job, WANTED, pods=lambda label: pods)
    assert decision.action is Action.CANT
    assert "mix two images" in decision.say
    assert "--clone" in decision.say


def test_a_running_training_job_is_cloned_under_a_new_name_where_that_is_allowed():
    running = tfjob({"conditions": [{"type": "Running", **TRUE}]})
    running["metadata"] |= {"uid": "u", "resourceVersion": "5", "finalizers": ["x"]}
    decision = decide(running, WANTED, Choices(clone=True))
    assert decision.action is Action.CLONE
    metadata = decision.after["metadata"]
    assert metadata == {
        "name": "gan-v7",
        "namespace": "hep",
        "annotations": {"kitbag.dev/copy-of": "gan"},
    }
    assert "status" not in decision.after
    assert OLD not in texts(decision)


def test_the_copy_of_a_copy_has_the_name_that_a_copy_of_the_first_would_have():
    copy = dict(decide(tfjob(), WANTED, Choices(clone=True)).after)
    again = Wanted(NEW.replace("2", "3"), EnvRef.parse("hep/3dgan:8"))
    assert decide(copy, again, Choices(clone=True)).after["metadata"]["name"] == "gan-v8"


def test_the_name_of_a_copy_fits_a_label():
    long = tfjob()
    long["metadata"]["name"] = "g" * 63
    name = decide(long, WANTED, Choices(clone=True)).after["metadata"]["name"]
    assert len(name) == 63
    assert name.endswith("g-v7")


@pytest.mark.parametrize("ended", ["Succeeded", "Failed"])
def test_a_training_job_that_has_ended_is_left_alone(ended):
    job = tfjob({"conditions": [{"type": "Running", "status": "False"}, {"type": ended, **TRUE}]})
    assert decide(job, WANTED, Choices(clone=True)).action is Action.SKIP


@pytest.mark.parametrize(
    "kind",
    [
        ("TrainJob", "trainer.kubeflow.org/v1alpha1", {"trainer": {"image": OLD}}),
        ("Job", "batch/v1", {"template": template({"name": "a", "image": OLD})}),
        (
            "JobSet",
            "jobset.x-k8s.io/v1alpha2",
            {
                "replicatedJobs": [
                    {"template": {"spec": {"template": template({"name": "a", "image": OLD})}}}
                ]
            },
        ),
        ("Workflow", "argoproj.io/v1alpha1", {"templates": [{"container": {"image": OLD}}]}),
        (
            "PipelineVersion",
            "pipelines.kubeflow.org/v2beta1",
            {
                "pipelineSpec": {
                    "deploymentSpec": {"executors": {"e": {"container": {"image": OLD}}}}
                }
            },
        ),
        (
            "Experiment",
            "kubeflow.org/v1beta1",
            {
                "trialTemplate": {
                    "trialSpec": {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "spec": {"template": template({"name": "a", "image": OLD})},
                    }
                }
            },
        ),
    ],
    ids=lambda kind: kind[0],
)
def test_what_is_immutable_says_what_to_do_and_may_be_copied(kind):
    name, api, spec = kind
    decision = decide(item(name, api, spec), WANTED)
    assert decision.action is Action.CANT
    assert f"a {name} can't change its image: " in decision.say
    copied = decide(item(name, api, spec), WANTED, Choices(clone=True))
    assert copied.action is Action.CLONE
    assert OLD not in texts(copied)


def test_the_copy_of_a_job_leaves_out_what_the_api_server_put_in():
    job = item(
        "Job",
        "batch/v1",
        {
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {
                "metadata": {"labels": {"controller-uid": "u", "job-name": "gan", "mine": "x"}},
                **template({"name": "a", "image": OLD}),
            },
        },
    )
    spec = decide(job, WANTED, Choices(clone=True)).after["spec"]
    assert "selector" not in spec
    assert spec["template"]["metadata"]["labels"] == {"mine": "x"}


def workspace_kind(*values: dict[str, Any], default: str) -> dict[str, Any]:
    config = {"spawner": {"default": default}, "values": [*values]}
    return item(
        "WorkspaceKind",
        "kubeflow.org/v1beta1",
        {"podTemplate": {"options": {"imageConfig": config}}},
    )


def choices_of(decision: Decision) -> dict[str, Any]:
    config = decision.after["spec"]["podTemplate"]["options"]["imageConfig"]
    return {
        value["id"]: (value["spec"]["image"], value.get("redirect", {}).get("to"))
        for value in config["values"]
    } | {"default": config["spawner"]["default"]}


def test_a_workspace_kind_gets_one_more_choice_and_redirects_the_old_one():
    kind = workspace_kind(
        {"id": "gan", "spec": {"image": OLD}},
        {"id": "other", "spec": {"image": "quay.io/x/y:1"}},
        default="gan",
    )
    decision = decide(kind, WANTED)
    assert decision.action is Action.APPEND
    assert choices_of(decision) == {
        "gan": (OLD, "gan-v7"),
        "other": ("quay.io/x/y:1", None),
        "gan-v7": (NEW, None),
        "default": "gan-v7",
    }
    assert decide(decision.after, WANTED).action is Action.NOTHING
    back = decide(decision.after, Wanted(OLD, EnvRef.parse("hep/3dgan:8")))
    assert choices_of(back)["gan-v7"] == (NEW, "gan-v8")
    assert choices_of(back)["gan-v8"] == (OLD, None)
    assert choices_of(back)["gan"] == (OLD, "gan-v7")


def test_a_workspace_kind_without_an_image_of_the_environment_is_a_persons_to_change():
    kind = workspace_kind({"id": "other", "spec": {"image": "quay.io/x/y:1"}}, default="other")
    decision = decide(kind, WANTED)
    assert decision.action is Action.CANT
    assert "registry.example.org/hep/3dgan" in decision.say


def ray(**spec: Any) -> dict[str, Any]:
    head = {"template": template({"name": "ray-head", "image": OLD})}
    return item("RayCluster", "ray.io/v1", {"headGroupSpec": head, **spec})


def test_a_ray_cluster_mixes_unless_it_is_made_again_or_suspended():
    assert decide(ray(), WANTED).action is Action.CANT
    recreate = ray(upgradeStrategy={"type": "Recreate"})
    assert decide(recreate, WANTED).action is Action.WAIT
    assert decide(recreate, WANTED, Choices(restart=True)).action is Action.PATCH
    assert decide(ray(suspend=True), WANTED).action is Action.PATCH


@pytest.mark.parametrize("file", ["inferenceservice.yaml", "notebook.yaml", "tfjob.yaml"])
def test_an_object_of_the_example_that_runs_the_image_is_left_as_it_is(file):
    *_, there = YAML(typ="safe", pure=True).load_all((EXAMPLE / file).read_text())
    first = decide(there, WANTED, Choices(restart=True, clone=True))
    assert first.action in (Action.PATCH, Action.CLONE)
    assert decide(first.after, WANTED).action is Action.NOTHING


def test_each_accelerators_image_is_followed_by_the_one_for_the_same_accelerator():
    cuda = {"old": OLD.replace("1", "7"), "new": NEW.replace("2", "8")}
    digests = {one: one.partition("@")[2] for one in (OLD, NEW, *cuda.values())}
    successors = {digests[one]: NEW for one in (OLD, NEW)}
    successors |= {digests[one]: cuda["new"] for one in cuda.values()}
    wanted = Wanted(NEW, ENV, successors)
    both = tfjob(suspend=True)
    worker = both["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    worker["image"] = cuda["old"]
    after = decide(both, wanted).after["spec"]["tfReplicaSpecs"]
    image = {
        role: replica["template"]["spec"]["containers"][0]["image"]
        for role, replica in after.items()
    }
    assert image == {"Chief": NEW, "Worker": cuda["new"]}
    kind = workspace_kind(
        {"id": "gan", "spec": {"image": OLD}},
        {"id": "gan-gpu", "spec": {"image": cuda["old"]}},
        default="gan",
    )
    found = choices_of(decide(kind, wanted))
    assert found["gan"] == (OLD, "gan-v7")
    assert found["gan-gpu"] == (cuda["old"], "gan-gpu-v7")
    assert found["gan-gpu-v7"] == (cuda["new"], None)
    without = Wanted(NEW, ENV, successors | {digests[cuda["old"]]: None})
    for item in (both, kind):
        decision = decide(item, without)
        assert decision.action is Action.CANT
        assert "no image for the accelerator" in decision.say


def test_only_the_environments_own_images_change_where_there_are_any():
    decision = decide(deployment(OLD, "quay.io/x/y:1"), WANTED)
    assert decision.paths == ("spec.template.spec.containers[0].image",)
    assert "quay.io/x/y:1" in texts(decision)


def test_other_images_change_only_in_what_was_asked_for_by_name_or_is_annotated():
    other = deployment("quay.io/x/y:1")
    assert decide(other, WANTED, Choices(named=True)).action is Action.PATCH
    assert decide(other, WANTED, Choices(named=False)).action is Action.SKIP
    annotated = deployment("quay.io/x/y:1", labels={"kitbag.dev/environment": "hep.3dgan"})
    assert decide(annotated, WANTED, Choices(named=False)).action is Action.PATCH


@pytest.mark.parametrize("said", ["hep.other", "hep.3dgan.5", "hep.3dgan.main"])
def test_an_annotation_that_means_something_else_is_respected(said):
    annotated = deployment(OLD, annotations={"kitbag.dev/environment": said})
    decision = decide(annotated, WANTED)
    assert decision.action is Action.SKIP
    assert "kitbag.dev/environment" in decision.say


def test_two_containers_that_could_be_the_users_are_a_question():
    decision = decide(deployment("quay.io/x/y:1", "quay.io/x/z:1"), WANTED)
    assert decision.action is Action.CANT
    assert "c0, c1" in decision.say
    chosen = decide(deployment("a:1", "b:1"), WANTED, Choices(container="c1"))
    assert chosen.paths == ("spec.template.spec.containers[1].image",)


def test_what_something_else_makes_is_left_to_that():
    owned = deployment(OLD, ownerReferences=[{"kind": "A", "name": "b", "controller": True}])
    decision = decide(owned, WANTED)
    assert decision.action is Action.SKIP
    assert "A b makes it" in decision.say


def test_an_unknown_kind_and_one_without_a_rule_are_named():
    unknown = decide(item("Widget", "example.com/v1", {}), WANTED)
    assert unknown.action is Action.CANT
    assert "Widget" in unknown.say
    ours = b"""\
kinds:
- kind: Widget
  group: example.com
  live:
  - change: later
    when: [{at: spec.off, is: 'true'}]
  - change: fixed
    say: turn it off
  places: [{image: spec.image}]
"""
    kinds = extended(builtin(), ours)
    spec = {"image": OLD, "off": True}
    widget = item("Widget", "example.com/v1", spec)
    assert decide(widget, WANTED, kinds=kinds).action is Action.PATCH
    off = decide(item("Widget", "example.com/v1", {"image": OLD}), WANTED, kinds=kinds)
    assert off.say == "a Widget can't change its image: turn it off"


def test_every_kind_that_a_cluster_can_hold_has_a_rule_that_always_fits():
    for row in builtin().rows:
        if row.kinds and row.places and not row.kinds & {"List", "Kustomization"}:
            assert row.live, row.name
            assert row.live[-1].when == (), row.name


@given(
    suspend=st.sampled_from([None, True, False, "true"]),
    active=st.integers(-1, 3) | st.none(),
    pods=st.integers(0, 2),
    clone=st.booleans(),
    restart=st.booleans(),
)
def test_whatever_a_training_job_says_its_template_changes_only_while_nothing_can_mix(
    suspend, active, pods, clone, restart
):
    status = {} if active is None else {"replicaStatuses": {"Worker": {"active": active}}}
    policy = {} if suspend is None else {"suspend": suspend}
    job = tfjob(status, **policy)
    before = deepcopy(job)
    choice = Choices(clone=clone, restart=restart)
    decision = decide(job, WANTED, choice, pods=lambda label: pods)
    assert job == before
    safe = suspend in (True, "true") and active in (None, 0) and pods == 0
    assert (decision.action is Action.PATCH) == safe
    assert (decision.action is Action.CLONE) == (clone and not safe)
