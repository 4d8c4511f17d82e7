"""The chart's objects at a real API server: its schemas, its admission, its pod security."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts.conftest import CHART, EXAMPLES, example
from rig.cluster import Cluster, RefusedError
from rig.crds import published
from rig.helm import Helm, Object

pytestmark = pytest.mark.rig
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
BUILDER = "kitbag-builds"
"""The namespace of the one pod that "restricted" would refuse, in ci/bundled.yaml."""


@pytest.fixture(scope="module")
def operators(cluster: Cluster) -> None:
    """What cert-manager, Prometheus' operator, KEDA and Istio tell an API server of."""
    cluster.install(published())


@pytest.fixture(scope="module")
def release(cluster: Cluster, operators: None) -> str:
    """The namespace of a release, restricted; beside it the builder's, which is not."""
    cluster.namespace(BUILDER, labels={"pod-security.kubernetes.io/enforce": "privileged"})
    namespace = cluster.namespace("kitbag", labels=RESTRICTED)
    for name in ("kb-kitbag", "kb-kitbag-api", "builder"):
        cluster.service_account(namespace, name)
    cluster.namespace("kubeflow")  # where the launcher's list of the examples is
    cluster.service_account(BUILDER, "kb-kitbag-buildkit")
    return namespace


def rendered(helm: Helm, values: Path, namespace: str) -> list[Object]:
    objects = helm.objects(CHART, "kb", example(values.stem))
    for each in objects:
        if not each["kind"].startswith("Cluster") and "WebhookConfiguration" not in each["kind"]:
            each["metadata"].setdefault("namespace", namespace)
    return objects


def pods(objects: list[Object]) -> Iterator[Object]:
    """A pod of each workload."""
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = each["spec"]["template"]
            namespace = each["metadata"]["namespace"]
            name = f"{each['metadata']['name']}-0"
            claims = each["spec"].get("volumeClaimTemplates", [])
            volumes = [
                {"name": made["metadata"]["name"], "persistentVolumeClaim": {"claimName": "c"}}
                for made in claims
            ]
            spec = {**template["spec"], "volumes": template["spec"].get("volumes", []) + volumes}
            metadata = {**template["metadata"], "name": name, "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_an_api_server_would_take_every_object_of_every_example(
    cluster: Cluster, helm: Helm, release: str, values: Path
) -> None:
    objects = {"apiVersion": "v1", "kind": "List", "items": rendered(helm, values, release)}
    cluster.admin.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=json.dumps(objects),
    )


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_pod_may_run_in_a_restricted_namespace_but_the_builder(
    cluster: Cluster, helm: Helm, release: str, values: Path
) -> None:
    tried = set()
    for pod in pods(rendered(helm, values, release)):
        where = pod["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{where}/pods?dryRun=All&fieldValidation=Strict"
        cluster.admin.call("POST", path, pod)
        tried.add(where)
    assert release in tried


def test_the_builder_would_be_refused_there(cluster: Cluster, helm: Helm, release: str) -> None:
    builders = [
        pod
        for pod in pods(rendered(helm, CHART / "ci/bundled.yaml", release))
        if pod["metadata"]["namespace"] == BUILDER
    ]
    (pod,) = builders
    pod["metadata"]["namespace"] = release
    pod["spec"]["serviceAccountName"] = "kb-kitbag"
    with pytest.raises(RefusedError, match="violates PodSecurity"):
        cluster.admin.call("POST", f"/api/v1/namespaces/{release}/pods?dryRun=All", pod)


def test_a_field_that_an_operator_does_not_know_is_refused(
    cluster: Cluster, helm: Helm, release: str
) -> None:
    (monitor,) = [
        each
        for each in rendered(helm, CHART / "ci/bundled.yaml", release)
        if each["kind"] == "ServiceMonitor" and each["metadata"]["name"] == "kb-kitbag"
    ]
    monitor["spec"]["endpoints"][0]["everySecond"] = True
    with pytest.raises(RefusedError, match="everySecond"):
        cluster.admin.kubectl(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
            stdin=json.dumps(monitor),
        )
