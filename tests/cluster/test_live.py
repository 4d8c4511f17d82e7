"""Live objects on a real API server: each kind's own way, and nothing of anybody else's touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cluster.live import (
    NEW,
    NEWER,
    OLD,
    Object,
    apply,
    as_seen,
    deployment,
    images,
    job,
    made,
    notebook,
    serving,
    status,
    template,
    tfjob,
)
from rig.cluster import Cluster as Rig

from kitbag.live import Choices, Wanted
from kitbag.live.change import Result, State, change
from kitbag.live.cluster import Cluster, Person
from kitbag.live.find import Environment, running
from kitbag.live.objects import Ref
from kitbag.refs import EnvRef

Change = Callable[..., Result]
WANTED = Wanted(NEW, EnvRef.parse("hep/3dgan:2"))
LATER = Wanted(NEWER, EnvRef.parse("hep/3dgan:3"))


@pytest.fixture(scope="module")
def live(cluster: Rig) -> Cluster:
    return Cluster(cluster.admin.http)


@pytest.fixture
def namespace(cluster: Rig) -> str:
    return cluster.namespace()


@pytest.fixture
def changed(live: Cluster) -> Change:
    """What becomes of an object: `changed(item, LATER, clone=True, force=True)`."""

    def once(
        item: Object,
        wanted: Wanted = WANTED,
        *,
        force: bool = False,
        dry_run: bool = False,
        **choice: Any,
    ) -> Result:
        given = Choices(**choice)
        return change(live, Ref.of(item), wanted, given, force=force, dry_run=dry_run)

    return once


def but_for_image(item: Object) -> Object:
    """The object without what every write changes."""
    text = str(item["spec"])
    for image in (OLD, NEW, NEWER):
        text = text.replace(image, "IMAGE")
    labels = {key: item["metadata"].get(key) for key in ("labels", "annotations", "name")}
    return {"spec": text, **labels}


@pytest.mark.parametrize(
    "make",
    [
        deployment,
        serving,
        lambda ns: tfjob(ns, suspend=True),
        lambda ns: notebook(ns, stopped=True),
    ],
    ids=["Deployment", "InferenceService", "TFJob", "Notebook"],
)
def test_what_kitbag_applied_gets_the_image_and_keeps_everything_else(
    cluster: Rig, namespace: str, changed: Change, make: Callable[[str], Object]
) -> None:
    item = make(namespace)
    before = apply(cluster.admin, item)
    assert changed(item).state is State.DONE
    after = as_seen(cluster.admin.http, item)
    assert OLD not in images(after)
    assert images(after).count(NEW) == images(before).count(OLD)
    assert but_for_image(after) == but_for_image(before)
    assert changed(item).state is State.SAME
    assert as_seen(cluster.admin.http, item) == after
    assert changed(item, LATER).state is State.DONE
    assert but_for_image(as_seen(cluster.admin.http, item)) == but_for_image(before)


@pytest.mark.parametrize("make", [deployment, serving])
def test_a_conflict_names_the_manager_and_changes_nothing_until_it_is_taken_over(
    cluster: Rig, namespace: str, changed: Change, make: Callable[[str], Object]
) -> None:
    item = make(namespace)
    before = apply(cluster.admin, item, "argocd")
    result = changed(item)
    assert result.state is State.CONFLICT
    assert "argocd manages .spec." in result.say
    assert "--force-conflicts" in result.say
    assert as_seen(cluster.admin.http, item) == before
    assert changed(item, force=True).state is State.DONE
    assert but_for_image(as_seen(cluster.admin.http, item)) == but_for_image(before)


def test_in_a_list_that_the_cluster_merges_only_the_image_is_taken_over(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    item = deployment(namespace)
    apply(cluster.admin, item, "argocd")
    assert changed(item, force=True).state is State.DONE
    scaled = deployment(namespace, NEW)
    scaled["spec"]["replicas"] = 5
    scaled["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2"
    after = apply(cluster.admin, scaled, "argocd")
    assert after["spec"]["replicas"] == 5


def test_a_dry_run_tells_of_conflicts_and_changes_nothing(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    ours, theirs = deployment(namespace), deployment(namespace, name="theirs")
    before = apply(cluster.admin, ours)
    apply(cluster.admin, theirs, "argocd")
    assert changed(ours, dry_run=True).state is State.DONE
    assert changed(theirs, dry_run=True).state is State.CONFLICT
    assert changed(tfjob(namespace), dry_run=True).state is State.GONE
    assert as_seen(cluster.admin.http, ours) == before


def test_a_running_tfjob_keeps_its_one_digest_and_is_cloned_once_where_that_is_allowed(
    cluster: Rig, namespace: str, changed: Change, live: Cluster
) -> None:
    item = tfjob(namespace)
    before = apply(cluster.admin, item)
    status(cluster, item, {"replicaStatuses": {"Worker": {"active": 1}}})
    assert changed(item).state is State.CANT
    assert set(images(as_seen(cluster.admin.http, item))) == {OLD}
    result = changed(item, clone=True)
    assert (result.state, result.copy) == (State.DONE, "gan-v2")
    copy = tfjob(namespace, name="gan-v2")
    there = as_seen(cluster.admin.http, copy)
    assert set(images(there)) == {NEW}
    assert "status" not in there
    assert there["spec"]["runPolicy"] == before["spec"]["runPolicy"]
    again = changed(item, clone=True)
    assert (again.state, again.copy) == (State.SAME, "gan-v2")
    assert changed(copy).state is State.SAME
    # The copy is Kitbag's own from its first field on.
    assert changed(copy, LATER, clone=True).copy == "gan-v3"


def test_a_suspended_tfjob_with_a_pod_that_still_ends_is_not_touched(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    item = tfjob(namespace, suspend=True)
    apply(cluster.admin, item)
    labels = {"training.kubeflow.org/job-name": "gan"}
    pod = made("Pod", "v1", template("tensorflow")["spec"], namespace, "gan-0", labels=labels)
    apply(cluster.admin, pod)
    assert changed(item).state is State.CANT
    status(cluster, pod, {"phase": "Succeeded"})
    assert changed(item).state is State.DONE


def test_a_running_notebook_waits_until_it_is_stopped(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    item = notebook(namespace)
    apply(cluster.admin, item)
    assert changed(item).state is State.WAITING
    assert changed(item, restart=True).state is State.DONE
    assert images(as_seen(cluster.admin.http, item)) == [NEW]


def test_the_copy_of_a_job_is_one_that_the_api_server_takes(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    item = job(namespace)
    apply(cluster.admin, item)
    refused = changed(item)
    assert refused.state is State.CANT
    assert "delete it and apply it again" in refused.say
    assert changed(item, clone=True).copy == "gan-v2"
    there = as_seen(cluster.admin.http, job(namespace, "gan-v2"))
    assert images(there) == [NEW]
    assert there["spec"]["selector"] != as_seen(cluster.admin.http, item)["spec"]["selector"]


def test_a_name_that_is_taken_by_something_else_is_not_taken_for_a_copy(
    cluster: Rig, namespace: str, changed: Change
) -> None:
    item, other = job(namespace), job(namespace, "gan-v2")
    apply(cluster.admin, item)
    apply(cluster.admin, other)
    result = changed(item, clone=True)
    assert result.state is State.CANT
    assert "gan-v2, which is something else" in result.say


def test_a_workspace_kind_gets_a_choice_and_keeps_those_in_use(
    cluster: Rig, changed: Change
) -> None:
    values = [{"id": "gan", "spec": {"image": OLD, "ports": [{"id": "lab", "port": 8888}]}}]
    config = {"spawner": {"default": "gan"}, "values": values}
    spec = {"podTemplate": {"options": {"imageConfig": config}}}
    item = made("WorkspaceKind", "kubeflow.org/v1beta1", spec, "", "lab")
    del item["metadata"]["namespace"]
    apply(cluster.admin, item)
    assert changed(item).state is State.DONE
    there = as_seen(cluster.admin.http, item)["spec"]["podTemplate"]["options"]["imageConfig"]
    assert there["spawner"]["default"] == "gan-v2"
    assert [value["spec"]["image"] for value in there["values"]] == [OLD, NEW]
    assert there["values"][0]["redirect"] == {"to": "gan-v2"}
    assert there["values"][1]["spec"]["ports"] == values[0]["spec"]["ports"]
    assert changed(item).state is State.SAME


def test_who_has_no_right_is_told_so_in_a_sentence_and_who_has_it_acts_as_themselves(
    cluster: Rig, namespace: str
) -> None:
    item = deployment(namespace)
    apply(cluster.admin, item)
    ana = cluster.user("ana@example.org")
    account = f"system:serviceaccount:{namespace}:default"
    for person in (Person(ana.user), Person.service_account(namespace, "default")):
        live = Cluster(cluster.admin.http, person)
        result = change(live, Ref.of(item), WANTED, Choices())
        assert result.state is State.DENIED
        assert f"the cluster doesn't allow it as {person.user}: " in result.say
    rights = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]
    cluster.allow(account, namespace, rights)
    live = Cluster(cluster.admin.http, Person.service_account(namespace, "default"))
    assert change(live, Ref.of(item), WANTED, Choices()).state is State.DONE


def test_an_api_server_that_is_away_is_worth_asking_again() -> None:
    with httpx.Client(base_url="http://127.0.0.1:9") as http:
        result = change(Cluster(http), Ref("v1", "Pod", "a", "b"), WANTED, Choices())
    assert result.state is State.AWAY
    assert result.state.again


def test_a_kind_that_the_cluster_lacks_is_named(changed: Change, namespace: str) -> None:
    result = changed(made("Widget", "example.com/v1", {}, namespace))
    assert result.state is State.CANT
    assert "no Widget of example.com/v1" in result.say


def test_every_object_that_runs_an_environment_is_found_with_its_version(
    cluster: Rig, namespace: str, live: Cluster
) -> None:
    for item in (deployment(namespace), tfjob(namespace), serving(namespace), job(namespace)):
        apply(cluster.admin, item)
    apply(cluster.admin, deployment(namespace, "quay.io/x/y:1", "other"))
    labels = {"kitbag.dev/environment": "hep.3dgan"}
    asked = deployment(namespace, "quay.io/x/z:1", "asked")
    asked["spec"]["template"]["spec"]["containers"].pop()
    asked["metadata"]["labels"] |= labels
    apply(cluster.admin, asked)
    environment = Environment.of("hep/3dgan", [(1, OLD), (2, NEW), (3, OLD)])
    search = running(live, environment, namespace=namespace)
    assert search.unseen == []
    found = {(one.ref.kind, one.ref.name): one.versions for one in search.found}
    assert found == {
        ("Deployment", "asked"): (None,),
        ("Deployment", "gan"): (3,),
        ("InferenceService", "gan"): (3,),
        ("Job", "gan"): (3,),
        ("TFJob", "gan"): (3, 3),
    }
