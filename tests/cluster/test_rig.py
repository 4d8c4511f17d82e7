"""The rig's Kubernetes API is a real one: it knows the kinds, keeps what it is told, says no."""

from __future__ import annotations

import pytest
from rig.cluster import Cluster, RefusedError
from rig.crds import CRDS

from kitbag import specs

pytestmark = pytest.mark.rig
# Rows about files, which no API server has.
_FILES = {"List", "Kustomization", "Component"}


def test_every_kind_of_the_table_of_specs_is_served(cluster: Cluster) -> None:
    paths = ["/api/v1"]
    for group in cluster.admin.call("GET", "/apis")["groups"]:
        paths += [f"/apis/{version['groupVersion']}" for version in group["versions"]]
    served = {
        (path.split("/")[2] if path.startswith("/apis") else "", resource["kind"])
        for path in paths
        for resource in cluster.admin.call("GET", path)["resources"]
    }
    wanted = {
        (group, kind)
        for row in specs.builtin().rows
        for kind in row.kinds
        for group in row.groups
        if kind not in _FILES and group != "extensions"
    }
    assert wanted - served == set()
    assert {(crd.group, crd.kind) for crd in CRDS} <= served


def test_an_object_keeps_fields_that_no_schema_has(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    cluster.admin.apply(
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "TFJob",
            "metadata": {"name": "gan", "namespace": namespace},
            "spec": {"tfReplicaSpecs": {"Worker": {"replicas": 2, "unheard": {"of": [1]}}}},
        }
    )
    spec = cluster.admin.get("tfjob", "gan", namespace)["spec"]
    assert spec["tfReplicaSpecs"]["Worker"] == {"replicas": 2, "unheard": {"of": [1]}}


def test_the_namespace_has_the_account_that_pods_need(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": "python:3.12"}]},
    }
    cluster.admin.apply(pod)
    assert cluster.admin.get("pod", "p", namespace)["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize("kind", ["a person", "a service account"])
def test_a_user_may_do_what_was_allowed_and_nothing_else(cluster: Cluster, kind: str) -> None:
    ours, theirs = cluster.namespace(), cluster.namespace()
    who = cluster.user(f"ana-{ours}") if kind == "a person" else cluster.service_account(ours, "ci")
    with pytest.raises(RefusedError, match="Forbidden"):
        who.kubectl("get", "tfjobs", "-n", ours)
    cluster.allow(who, ours)
    assert who.call("GET", f"/apis/kubeflow.org/v1/namespaces/{ours}/tfjobs")["items"] == []
    with pytest.raises(RefusedError, match="forbidden"):
        who.call("GET", f"/apis/kubeflow.org/v1/namespaces/{theirs}/tfjobs")


def test_somebody_without_a_credential_is_nobody(cluster: Cluster) -> None:
    namespace = cluster.namespace()
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = cluster.admin.http.get(path)
    assert answer.status_code == 200
    nobody = cluster.service_account(namespace, "default")
    nobody.http.headers.pop("Authorization")
    with pytest.raises(RefusedError, match="system:anonymous"):
        nobody.call("GET", path)
