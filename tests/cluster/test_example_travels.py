"""The example's one digest on a cluster: notebook, pipeline, search, training job, server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.kit import RIGHTS, Kit, serving
from cluster.live import Object, as_seen, deployment, images, made, status, tfjob
from rig.cluster import Cluster as Rig
from ruamel.yaml import YAML

pytestmark = [pytest.mark.rig, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples/3dgan"
FILES = ("notebook.yaml", "tfjob.yaml", "katib.yaml", "inferenceservice.yaml")
ENVIRONMENT = "hep/3dgan"
KINDS = {
    "Notebook": "kubeflow.org/v1",
    "TFJob": "kubeflow.org/v1",
    "Experiment": "kubeflow.org/v1beta1",
    "InferenceService": "serving.kserve.io/v1beta1",
    "PipelineVersion": "pipelines.kubeflow.org/v2beta1",
}


@pytest.fixture(scope="module")
def kit(cluster: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with serving(cluster, tmp_path_factory) as made:
        yield made


def at(kind: str, name: str = "gan3d") -> Object:
    return made(kind, KINDS[kind], {}, "hep", name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's manifests and the run of its compiled pipeline, as an object."""
    found = tmp_path_factory.mktemp("k8s")
    for name in FILES:
        (found / name).write_bytes((EXAMPLE / "k8s" / name).read_bytes())
    run, *_ = YAML(typ="safe", pure=True).load_all((EXAMPLE / "pipeline.yaml").read_text())
    spec = {"pipelineName": "gan3d", "pipelineSpec": run}
    (found / "pipeline-version.json").write_text(
        json.dumps(made("PipelineVersion", KINDS["PipelineVersion"], spec, "hep", "gan3d"))
    )
    return found


def ours(cluster: Rig, kind: str, name: str = "gan3d", host: str = "127.0.0.1") -> set[str]:
    """The images of an object that Kitbag built."""
    there = as_seen(cluster.admin.http, at(kind, name))
    return {image for image in images(there) if image.startswith(host)}


def states(rows: dict[str, Any]) -> dict[str, str]:
    return {row["kind"]: row["state"] for row in rows["items"]}


def merge(cluster: Rig, kind: str, patch: Object) -> None:
    """What the user or a controller does to an object of the example."""
    plural = f"{kind.lower()}s"
    path = f"/apis/{KINDS[kind]}/namespaces/hep/{plural}/gan3d"
    header = {"Content-Type": "application/merge-patch+json"}
    cluster.admin.call("PATCH", path, patch, **header)


def test_one_digest_travels_from_the_notebook_to_the_server_and_back(
    kit: Kit, cluster: Rig, folder: Path
) -> None:
    cluster.namespace("hep")
    first = kit.build(ENVIRONMENT, "one==1.0")["image"]
    applied = kit.kitbag("apply", "-f", folder, "--env", ENVIRONMENT)
    assert applied.returncode == 0, applied.stderr
    for kind in KINDS:
        assert ours(cluster, kind) == {first}, kind
    seen = kit.json("where", ENVIRONMENT, "-n", "hep")
    assert {row["kind"] for row in seen["items"]} == set(KINDS)
    assert not any(row["drift"] for row in seen["items"])

    second = kit.build(ENVIRONMENT, "one==2.0")["image"]
    assert second != first
    behind = kit.json("where", ENVIRONMENT, "-n", "hep", code=1)
    assert all(row["drift"] and set(row["versions"]) == {1} for row in behind["items"])

    would = kit.json("rollout", ENVIRONMENT, "-n", "hep", "--dry-run", code=1)
    expected = {
        "Notebook": "waiting",
        "TFJob": "cant",
        "Experiment": "cant",
        "InferenceService": "done",
        "PipelineVersion": "cant",
    }
    assert states(would) == expected
    assert ours(cluster, "InferenceService") == {first}

    # The user stops the notebook and suspends the training; the search ends.
    stopped = {"kubeflow-resource-stopped": "2026-11-01T00:00:00Z"}
    merge(cluster, "Notebook", {"metadata": {"annotations": stopped}})
    merge(cluster, "TFJob", {"spec": {"runPolicy": {"suspend": True}}})
    status(cluster, at("Experiment"), {"conditions": [{"type": "Succeeded", "status": "True"}]})

    rolled = kit.json("rollout", ENVIRONMENT, "-n", "hep", "--clone")
    assert states(rolled) == {
        "Notebook": "done",
        "TFJob": "done",
        "Experiment": "skipped",
        "InferenceService": "done",
        "PipelineVersion": "done",
    }
    for kind in ("Notebook", "TFJob", "InferenceService"):
        assert ours(cluster, kind) == {second}, kind
    assert ours(cluster, "PipelineVersion", "gan3d-v2") == {second}
    drift = kit.json("where", ENVIRONMENT, "-n", "hep")
    assert not any(row["drift"] for row in drift["items"])

    # Back: a new version with the old image, and one rollout more.
    assert kit.kitbag("rollback", ENVIRONMENT, "--to", "1").stdout.strip() == first
    back = kit.json("rollout", ENVIRONMENT, "-n", "hep", "--clone")
    assert set(states(back).values()) <= {"done", "same", "skipped"}
    for kind in ("Notebook", "TFJob", "InferenceService"):
        assert ours(cluster, kind) == {first}, kind
    kit.json("where", ENVIRONMENT, "-n", "hep")
    again = kit.json("rollout", ENVIRONMENT, "-n", "hep", "--clone", "--dry-run")
    assert "done" not in states(again).values()


def test_applying_a_running_job_with_another_digest_is_refused_and_copied_on_demand(
    kit: Kit, cluster: Rig, tmp_path: Path
) -> None:
    namespace = cluster.namespace()
    file = tmp_path / "tfjob.yaml"
    YAML().dump(tfjob(namespace), file)
    one, two = f"r.example/a@sha256:{'4' * 64}", f"r.example/a@sha256:{'5' * 64}"
    assert kit.kitbag("apply", "-f", file, "--image", one).returncode == 0
    assert kit.kitbag("apply", "-f", file, "--image", one).returncode == 0
    refused = kit.kitbag("apply", "-f", file, "--image", two)
    assert refused.returncode == 2
    assert f"TFJob {namespace}/gan runs, and applying would mix two images" in refused.stderr
    assert "--clone" in refused.stderr
    assert set(images(as_seen(cluster.admin.http, tfjob(namespace)))) == {one}
    copied = kit.kitbag("apply", "-f", file, "--image", two, "--clone")
    assert copied.returncode == 0, copied.stderr
    name = f"gan-d{'5' * 10}"
    assert set(images(as_seen(cluster.admin.http, tfjob(namespace, name=name)))) == {two}
    assert set(images(as_seen(cluster.admin.http, tfjob(namespace)))) == {one}


def test_a_kubectl_that_finds_no_cluster_is_an_error_in_one_line(kit: Kit, tmp_path: Path) -> None:
    kit.build("hep/lost", "one==1.0")
    done = kit.kitbag("where", "hep/lost", "--context", "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1


def wait(kit: Kit, environment: str, *, version: int, state: str = "done") -> dict[str, Any]:
    """The run of the environment's only rollout, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (one,) = kit.json("rollout", "ls", environment)["items"]
        run: dict[str, Any] = one["run"]
        if (run["version"], run["state"]) == (version, state):
            return run
        time.sleep(0.1)
    raise AssertionError(f"{run}\n{kit.logs()}")


def seen_by(cluster: Rig, namespace: str, image: str, name: str = "gan") -> Object:
    item = deployment(namespace, image, name)
    kind = {"Content-Type": "application/apply-patch+yaml"}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}?fieldManager=kitbag"
    cluster.admin.call("PATCH", path, item, **kind)
    return item


def test_a_registered_rollout_follows_every_version_as_the_namespaces_service_account(
    kit: Kit, cluster: Rig
) -> None:
    first = kit.build("lab/app", "one==1.0")["image"]
    cluster.namespace("lab")
    item = seen_by(cluster, "lab", first)
    cluster.service_account("lab", "kitbag")
    added = kit.json("rollout", "add", "lab/app", "deployment/gan")
    assert (added["namespace"], added["run"]["version"]) == ("lab", 1)
    # The account has no right in the namespace yet: that is said, and nothing is tried again.
    denied = wait(kit, "lab/app", version=1)
    (told,) = denied["objects"]
    assert told["state"] == "denied"
    assert "system:serviceaccount:lab:kitbag" in told["say"]

    cluster.allow("system:serviceaccount:lab:kitbag", "lab", RIGHTS)
    assert kit.kitbag("rollout", "retry", "lab/app", str(added["id"])).returncode == 0
    while denied["objects"][0]["state"] == "denied":
        denied = wait(kit, "lab/app", version=1)
    assert denied["objects"][0]["state"] == "same"
    second = kit.build("lab/app", "one==2.0")["image"]
    run = wait(kit, "lab/app", version=2)
    assert [one["state"] for one in run["objects"]] == ["done"]
    assert run["objects"][0]["before"] == [first]
    there = as_seen(cluster.admin.http, item)
    assert second in images(there)
    assert kit.kitbag("rollback", "lab/app", "--to", "1").returncode == 0
    wait(kit, "lab/app", version=3)
    assert first in images(as_seen(cluster.admin.http, item))

    assert kit.kitbag("rollout", "rm", "lab/app", str(added["id"])).returncode == 0
    assert kit.json("rollout", "ls", "lab/app")["items"] == []
    gone = kit.kitbag("rollout", "rm", "lab/app", str(added["id"]))
    assert gone.returncode == 2
    assert "has no rollout" in gone.stderr


def test_a_rollout_by_labels_waits_for_a_running_notebook_and_tells_of_conflicts(
    kit: Kit, cluster: Rig
) -> None:
    first = kit.build("shop/app", "one==1.0")["image"]
    cluster.namespace("shop")
    cluster.service_account("shop", "kitbag")
    cluster.allow("system:serviceaccount:shop:kitbag", "shop", RIGHTS)
    labels = {"labels": {"team": "a"}}
    notebook = made(
        "Notebook",
        "kubeflow.org/v1",
        {"template": {"spec": {"containers": [{"name": "gan", "image": first}]}}},
        "shop",
        **labels,
    )
    theirs = deployment("shop", first, "theirs")
    theirs["metadata"]["labels"] |= labels["labels"]
    kind = {"Content-Type": "application/apply-patch+yaml"}
    start = "/apis/kubeflow.org/v1/namespaces/shop/notebooks"
    cluster.admin.call("PATCH", f"{start}/gan?fieldManager=kitbag", notebook, **kind)
    start = "/apis/apps/v1/namespaces/shop/deployments"
    cluster.admin.call("PATCH", f"{start}/theirs?fieldManager=argocd", theirs, **kind)
    seen_by(cluster, "shop", first, "unlabelled")

    kit.json("rollout", "add", "shop/app", "-l", "team=a")
    wait(kit, "shop/app", version=1)
    second = kit.build("shop/app", "one==2.0")["image"]
    run = wait(kit, "shop/app", version=2, state="pending")
    deadline = time.monotonic() + 60
    while {one["name"] for one in run["objects"]} != {"gan", "theirs"}:
        assert time.monotonic() < deadline
        run = wait(kit, "shop/app", version=2, state="pending")
    by_name = {one["name"]: one for one in run["objects"]}
    assert by_name["gan"]["state"] == "waiting"
    assert by_name["theirs"]["state"] == "conflict"
    assert "argocd manages" in by_name["theirs"]["say"]
    assert by_name["theirs"]["say"].endswith("--force-conflicts")

    # The user stops the notebook: it has the new image when it starts again.
    stopped = {"metadata": {"annotations": {"kubeflow-resource-stopped": "now"}}}
    merge = {"Content-Type": "application/merge-patch+json"}
    path = "/apis/kubeflow.org/v1/namespaces/shop/notebooks/gan"
    cluster.admin.call("PATCH", path, stopped, **merge)
    done = wait(kit, "shop/app", version=2)
    assert {one["name"]: one["state"] for one in done["objects"]}["gan"] == "done"
    assert images(as_seen(cluster.admin.http, notebook)) == [second]
    unlabelled = as_seen(cluster.admin.http, deployment("shop", first, "unlabelled"))
    assert first in images(unlabelled)
