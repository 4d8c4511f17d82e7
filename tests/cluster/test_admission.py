"""The webhooks of the chart, called by a real API server over TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cluster.conftest import DEFAULT, EXEMPT, KEY, NOTHING, Versions, Webhook
from rig.cluster import Cluster, Object, RefusedError

pytestmark = pytest.mark.rig
ANNOTATION = "kitbag.dev/environment"
OTHER = "tensorflow/tensorflow:2.15"
BESIDE = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.20"}


def template(container: str, image: str) -> Object:
    return {"spec": {"containers": [{"name": container, "image": image}, dict(BESIDE)]}}


def replicas(field: str, container: str) -> Callable[[str], Object]:
    return lambda image: {
        field: {role: {"template": template(container, image)} for role in ("Chief", "Worker")}
    }


def labelled(image: str) -> Object:
    pod = template("c", image)
    return pod | {"metadata": {"labels": {"app": "x"}}}


KINDS: dict[str, tuple[str, Callable[[str], Object]]] = {
    "Notebook": ("kubeflow.org/v1", lambda image: {"template": template("obj", image)}),
    "TFJob": ("kubeflow.org/v1", replicas("tfReplicaSpecs", "tensorflow")),
    "PyTorchJob": ("kubeflow.org/v1", replicas("pytorchReplicaSpecs", "pytorch")),
    "Deployment": (
        "apps/v1",
        lambda image: {"selector": {"matchLabels": {"app": "x"}}, "template": labelled(image)},
    ),
    "Job": (
        "batch/v1",
        lambda image: {
            "template": {"spec": template("c", image)["spec"] | {"restartPolicy": "Never"}}
        },
    ),
    "Pod": ("v1", lambda image: template("c", image)["spec"]),
    "Experiment": (
        "kubeflow.org/v1beta1",
        lambda image: {
            "trialTemplate": {
                "primaryContainerName": "training",
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": template("training", image)},
                },
            }
        },
    ),
    "Workflow": (
        "argoproj.io/v1alpha1",
        lambda image: {"templates": [{"name": "a", "container": {"image": image}}]},
    ),
    "InferenceService": (
        "serving.kserve.io/v1beta1",
        lambda image: {"predictor": {"containers": [{"name": "kserve-container", "image": image}]}},
    ),
    "RayCluster": (
        "ray.io/v1",
        lambda image: {
            "headGroupSpec": {"template": {"spec": {"containers": [{"name": "h", "image": image}]}}}
        },
    ),
}


def made(kind: str, image: str, namespace: str, environment: str = "") -> Object:
    version, spec = KINDS[kind]
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": "obj",
            "namespace": namespace,
            "annotations": {ANNOTATION: environment} if environment else {},
        },
        "spec": spec(image),
    }


def images(value: Any) -> list[str]:
    """Every image of an object, but for the one beside."""
    if isinstance(value, dict):
        own = value.get("image")
        found = [own] if isinstance(own, str) and own != BESIDE["image"] else []
        return found + [image for each in value.values() for image in images(each)]
    return [image for each in value for image in images(each)] if isinstance(value, list) else []


@pytest.mark.parametrize("how", ["reference", "annotation"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_kubectl_creates_comes_back_with_the_digest(
    cluster: Cluster, versions: Versions, kind: str, how: str
) -> None:
    namespace = cluster.namespace()
    digest = versions.add(f"{namespace}/gan")
    if how == "reference":
        asked = made(kind, f"kitbag://{namespace}/gan", namespace)
    else:
        asked = made(kind, OTHER, namespace, f"{namespace}.gan")
    cluster.admin.apply(asked)
    group = KINDS[kind][0].rpartition("/")[0]
    kept = cluster.admin.get(f"{kind.lower()}s.{group}" if group else "pods", "obj", namespace)
    found = images(kept["spec"])
    assert found and set(found) == {digest}
    assert len(found) == len(images(asked["spec"]))


def test_a_new_version_reaches_what_is_applied_after_it_and_nothing_that_runs(
    cluster: Cluster, versions: Versions
) -> None:
    namespace = cluster.namespace()
    old = versions.add(f"{namespace}/gan")
    asked = made("TFJob", OTHER, namespace, f"{namespace}.gan")
    cluster.admin.apply(asked)
    new = versions.add(f"{namespace}/gan")
    cluster.admin.kubectl("label", "tfjob", "obj", "-n", namespace, "touched=yes")
    assert set(images(cluster.admin.get("tfjob", "obj", namespace)["spec"])) == {old}
    another = made("TFJob", f"kitbag://{namespace}/gan", namespace)
    another["metadata"]["name"] = "next"
    cluster.admin.apply(another)
    assert set(images(cluster.admin.get("tfjob", "next", namespace)["spec"])) == {new}


def test_kubectl_shows_the_sentence_of_a_refusal(cluster: Cluster, versions: Versions) -> None:
    ours, theirs = cluster.namespace(), cluster.namespace()
    versions.add(f"{theirs}/gan")
    with pytest.raises(RefusedError) as unknown:
        cluster.admin.apply(made("TFJob", f"kitbag://{ours}/nothing", ours))
    assert 'webhook "objects.kitbag.dev" denied the request: There is no' in str(unknown.value)
    with pytest.raises(RefusedError, match=f"{theirs}/gan belongs to {theirs}"):
        cluster.admin.apply(made("TFJob", OTHER, ours, f"{theirs}.gan"))


def test_exempt_namespaces_and_ignored_objects_are_left_alone(
    cluster: Cluster, webhook: Webhook
) -> None:
    cluster.namespace(EXEMPT)
    for namespace in (EXEMPT, "kube-system"):
        cluster.admin.apply(made("TFJob", "kitbag://no/one", namespace))
        assert set(images(cluster.admin.get("tfjob", "obj", namespace))) == {"kitbag://no/one"}
    ignored = made("TFJob", "kitbag://no/one", namespace := cluster.namespace())
    ignored["metadata"]["labels"] = {"kitbag.dev/admission": "ignore"}
    cluster.admin.apply(ignored)
    assert set(images(cluster.admin.get("tfjob", "obj", namespace))) == {"kitbag://no/one"}


def test_the_label_of_a_namespace_names_the_environment_of_what_asks_for_none(
    cluster: Cluster, versions: Versions
) -> None:
    digest = versions.add(DEFAULT.replace(".", "/"))
    namespace = cluster.namespace(labels={ANNOTATION: DEFAULT})
    own = versions.add(f"{namespace}/gan")
    for kind in ("Notebook", "PyTorchJob", "Experiment", "RayCluster"):
        cluster.admin.apply(made(kind, OTHER, namespace))
        plural = f"{kind.lower()}s.{KINDS[kind][0].rpartition('/')[0]}"
        assert set(images(cluster.admin.get(plural, "obj", namespace)["spec"])) == {digest}
    cluster.admin.apply(made("TFJob", f"kitbag://{namespace}/gan", namespace))
    assert set(images(cluster.admin.get("tfjob", "obj", namespace)["spec"])) == {own}
    cluster.admin.apply(made("Deployment", OTHER, namespace))
    assert images(cluster.admin.get("deployment", "obj", namespace)["spec"]) == [OTHER]
    for labels in ({}, {ANNOTATION: NOTHING}, {ANNOTATION: "not.listed"}):
        other = cluster.namespace(labels=labels)
        cluster.admin.apply(made("TFJob", OTHER, other))
        assert set(images(cluster.admin.get("tfjob", "obj", other)["spec"])) == {OTHER}


def test_a_labelled_namespace_runs_only_what_was_built_here(
    cluster: Cluster, versions: Versions
) -> None:
    namespace = cluster.namespace(labels={"kitbag.dev/images": "built"})
    digest = versions.add(f"{namespace}/gan")
    cluster.admin.apply(made("Pod", digest, namespace))
    cluster.admin.apply(made("TFJob", f"kitbag://{namespace}/gan", namespace))
    with pytest.raises(RefusedError, match="Container 'tensorflow' may not run tensorflow/"):
        cluster.admin.apply(made("TFJob", OTHER, namespace) | {"metadata": {
            "name": "other", "namespace": namespace}})  # fmt: skip
    other = made("Pod", OTHER, namespace) | {"metadata": {"name": "p", "namespace": namespace}}
    with pytest.raises(RefusedError, match=f"Container 'c' may not run {OTHER}"):
        cluster.admin.apply(other)
    cluster.admin.apply(made("Pod", OTHER, cluster.namespace()))


def test_the_cluster_goes_on_while_the_webhook_is_down(cluster: Cluster, webhook: Webhook) -> None:
    namespace = cluster.namespace()
    webhook.daemon.kill()
    try:
        cluster.admin.apply(made("Deployment", OTHER, namespace))
    finally:
        webhook.daemon.start()
    assert images(cluster.admin.get("deployment", "obj", namespace)["spec"]) == [OTHER]


def test_who_has_no_key_is_told_so_and_plain_http_gets_nothing(
    webhook: Webhook,
) -> None:
    verify = ssl.create_default_context(cafile=webhook.authority.path)
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    with httpx.Client(verify=verify, trust_env=False) as client:
        told = client.post(f"{webhook.url}/v1/admission", json=review)
        assert told.status_code == 401 and "admission key" in told.json()["detail"]
        told = client.post(f"{webhook.url}/v1/admission/{KEY}", json=review)
        assert told.status_code == 422
    with pytest.raises(httpx.HTTPError):
        httpx.post(webhook.url.replace("https", "http") + "/v1/admission", trust_env=False)


def test_a_renewed_certificate_is_served_without_a_restart(webhook: Webhook) -> None:
    before = webhook.daemon.pid
    webhook.authority.issue("webhook")
    renewed = webhook.certificate.path.read_text()
    deadline = time.monotonic() + 60
    while _served(webhook) != renewed:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert webhook.daemon.pid == before and webhook.answers()


def _served(webhook: Webhook) -> str:
    host, _, port = webhook.url.removeprefix("https://").partition(":")
    return ssl.get_server_certificate((host, int(port)))
