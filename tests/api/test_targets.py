"""Versions at targets: resolve, pins and admission name the near registry, once it has them."""

from __future__ import annotations

import base64
import json
import re
import threading
from datetime import timedelta
from typing import Any

import pytest

from catalog import mirrors, targets
from catalog.engine import reading, writing
from catalog.versions import ImageFacts

CPU, CUDA = "sha256:" + "a" * 64, "sha256:" + "e" * 64
NEAR = "near.example/kit/alice/gan"
TFJOB = """\
apiVersion: kubeflow.org/v1
kind: TFJob
metadata:
  name: gan
spec:
  tfReplicaSpecs:
    Chief:
      replicas: 1
      template:
        spec:
          containers:
          - name: tensorflow
            image: kitbag://alice/gan
    Worker:
      replicas: 16
      template:
        spec:
          containers:
          - name: tensorflow
            image: kitbag://alice/gan
            resources: {limits: {nvidia.com/gpu: 8}}
"""


def facts(accelerator: str, digest: str) -> ImageFacts:
    return ImageFacts(
        image=f"registry.example/alice/gan@{digest}",
        digest=digest,
        accelerator=accelerator,
        platform="linux/amd64",
        base_name="auto",
        base_digest="sha256:" + "b" * 64,
        size_bytes=1000,
        packages=[{"name": "numpy", "version": "2.0.0", "size_bytes": 900}],
    )


def add(site, name="gcp", registry="registry://near.example/kit", **more: Any) -> None:
    with writing(site.engine) as session:
        target = targets.add(session, "alice", name, registry, **more)
        mirrors.plan_newest(session, target)


def copied(site, problem: str = "") -> None:
    """What a worker tells the catalog of every copy that is due."""
    with reading(site.engine) as session:
        found = list(mirrors.due(session))
    assert found
    for mirror_id in found:
        with writing(site.engine) as session:
            claimed = mirrors.claim(session, mirror_id, "worker", timedelta(minutes=1))
            assert claimed is not None
            again = timedelta(hours=1) if problem else None
            mirrors.finish(session, mirror_id, 1, again_in=again, problem=problem, moved_bytes=7)


def resolve(site, **query: Any):
    return site.http.get("/v1/resolve", params={"env": "alice/gan"} | query)


@pytest.fixture
def both(site):
    """A site with a target and a version for CPUs and CUDA."""
    add(site, accelerator="cuda", pull_secret="near-pull")
    site.new_version(images=[facts("cpu", CPU), facts("cuda", CUDA)])
    return site


def test_a_target_answers_with_the_equal_digest_once_it_is_there(both, problem):
    told = problem(resolve(both, target="gcp"), 409, "not-mirrored")
    assert "alice/gan:1 is not in near.example/kit" in told["detail"]
    assert resolve(both, target="gcp").headers["retry-after"] == "5"
    assert resolve(both).json()["image"].startswith("registry.example/")
    copied(both)
    found = resolve(both, target="gcp", accelerator="cpu").json()
    assert found["image"] == f"{NEAR}@{CPU}"
    assert found["digest"] == resolve(both, accelerator="cpu").json()["digest"]
    assert (found["target"], found["pull_secret"]) == ("gcp", "near-pull")


def test_the_targets_accelerator_is_its_default(both):
    copied(both)
    found = resolve(both, target="gcp").json()
    assert (found["accelerator"], found["image"]) == ("cuda", f"{NEAR}@{CUDA}")
    assert list(found["images"]) == ["cuda", "cpu"]


def test_why_a_copy_failed_is_said_and_shown(both, problem):
    copied(both, problem="near.example did not answer")
    told = problem(resolve(both, target="gcp"), 409, "not-mirrored")
    assert "near.example did not answer" in told["detail"]
    [shown] = both.http.get("/v1/environments/alice/gan/versions/1").json()["mirrors"]
    assert (shown["target"], shown["state"], shown["tries"]) == ("gcp", "pending", 1)
    assert shown["problem"] == "near.example did not answer"
    assert shown["due_at"] and shown["copied_bytes"] == 7


def test_many_names_are_resolved_at_a_target_by_one_request(both):
    asked = {"names": ["alice/gan", "alice/none", "alice/gan:1"], "target": "gcp"}
    waiting = both.http.post("/v1/resolve", json=asked).json()["items"]
    assert waiting[0]["problem"]["type"].endswith("/not-mirrored")
    copied(both)
    first, second, third = both.http.post("/v1/resolve", json=asked).json()["items"]
    assert first["resolved"]["image"].startswith("near.example/kit/alice/gan@sha256:")
    assert first["resolved"]["target"] == "gcp" and third["resolved"]["version"] == 1
    assert second["problem"]["type"].endswith("/environment-not-found")
    nowhere = both.http.post("/v1/resolve", json=asked | {"target": "mars"}).json()["items"]
    assert nowhere[0]["problem"]["type"].endswith("/target-not-found")


def test_an_unknown_target_is_a_sentence_that_names_those_there_are(both, problem):
    told = problem(resolve(both, target="aws"), 404, "target-not-found")
    assert "it has gcp" in told["detail"]
    problem(resolve(both, target="x" * 64), 422, "invalid-request")


def test_a_version_from_before_the_target_is_copied_when_it_is_asked_for(site, problem):
    site.new_version("1")
    site.new_version("2", digest=CUDA)
    add(site)
    copied(site)
    problem(resolve(site, env="alice/gan:1", target="gcp"), 409, "not-mirrored")
    copied(site)
    assert resolve(site, env="alice/gan:1", target="gcp").json()["image"] == f"{NEAR}@{CPU}"


def test_an_answer_that_the_caller_has_is_not_sent_until_the_target_moves(both, problem):
    copied(both)
    tag = resolve(both, target="gcp").headers["etag"]
    again = {"If-None-Match": tag}
    query = {"env": "alice/gan", "target": "gcp"}
    assert both.http.get("/v1/resolve", params=query, headers=again).status_code == 304
    add(both, registry="registry://moved.example/kit", accelerator="cuda")
    problem(both.http.get("/v1/resolve", params=query, headers=again), 409, "not-mirrored")
    copied(both)
    moved = both.http.get("/v1/resolve", params=query, headers=again)
    assert moved.json()["image"] == f"moved.example/kit/alice/gan@{CUDA}"


def test_a_job_of_16_workers_with_8_gpus_is_pinned_to_the_near_registrys_cuda_image(both, problem):
    asked = {"text": TFJOB, "target": "gcp"}
    problem(both.http.post("/v1/pins", json=asked), 409, "not-mirrored")
    copied(both)
    pinned = both.http.post("/v1/pins", json=asked).json()["text"]
    assert re.findall(r"image: (\S+)", pinned) == [f"{NEAR}@{CPU}", f"{NEAR}@{CUDA}"]
    assert pinned.count("- name: near-pull") == 2
    assert "replicas: 16" in pinned and "nvidia.com/gpu: 8" in pinned


def test_an_image_that_is_named_has_no_target(both, problem):
    asked = {"text": TFJOB, "target": "gcp", "image": "r/x@" + CPU}
    problem(both.http.post("/v1/pins", json=asked), 422, "invalid-request")


def admit(site, path="/v1/admission", **annotations: str) -> dict[str, Any]:
    """The webhook's answer to the job, which runs in the namespace of its environment."""
    worker = {"containers": [{"name": "tensorflow", "image": "kitbag://alice/gan"}]}
    worker["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 8}}  # type: ignore[assignment]
    job = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": {"name": "gan", "namespace": "alice", "annotations": annotations},
        "spec": {"tfReplicaSpecs": {"Worker": {"replicas": 16, "template": {"spec": worker}}}},
    }
    request = {
        "uid": "u",
        "kind": {"group": "kubeflow.org", "version": "v1", "kind": "TFJob"},
        "namespace": "alice",
        "operation": "CREATE",
        "object": job,
        "oldObject": None,
        "options": {},
    }
    asked = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    answer: dict[str, Any] = site.http.post(path, json=asked).json()["response"]
    return answer


def images(answer: dict[str, Any]) -> list[str]:
    patch = json.loads(base64.b64decode(answer["patch"]))
    return [str(each["value"]) for each in patch if each["op"] == "replace"]


def test_admission_pins_to_the_registry_that_is_near_its_cluster(make_site):
    site = make_site(cluster_target="gcp")
    site.add_base()
    add(site)
    site.new_version(images=[facts("cpu", CPU), facts("cuda", CUDA)])
    refused = admit(site)
    assert not refused["allowed"]
    assert "is not in near.example/kit" in refused["status"]["message"]
    copied(site)
    assert images(admit(site)) == [f"{NEAR}@{CUDA}"]


def test_a_webhooks_path_says_which_cluster_asks(both):
    copied(both)
    assert images(admit(both)) == [f"registry.example/alice/gan@{CUDA}"]
    assert images(admit(both, "/v1/admission?target=gcp")) == [f"{NEAR}@{CUDA}"]
    refused = admit(both, "/v1/admission?target=aws")
    assert "has no target 'aws'" in refused["status"]["message"]


def test_an_object_that_waits_for_builds_waits_for_the_copy_too(both):
    later = threading.Timer(0.5, copied, (both,))
    later.start()
    wait = {"kitbag.dev/wait": "running"}
    answer = admit(both, "/v1/admission?target=gcp&timeout=20s", **wait)
    later.join()
    assert images(answer) == [f"{NEAR}@{CUDA}"]
