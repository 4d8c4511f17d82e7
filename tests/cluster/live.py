"""Objects of every manner of change, as users make them, and the cluster as Kitbag sees it."""

from __future__ import annotations

from typing import Any

import httpx
from rig.cluster import Access
from rig.cluster import Cluster as Rig

from kitbag.live.cluster import Cluster
from kitbag.live.objects import Ref

REPOSITORY = "registry.example.org/hep/3dgan"
OLD, NEW, NEWER = (f"{REPOSITORY}@sha256:{digit * 64}" for digit in "123")

Object = dict[str, Any]


def made(kind: str, api: str, spec: Any, namespace: str, name: str = "gan", **more: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, **more}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def template(name: str, image: str = OLD) -> Object:
    container = {"name": name, "image": image, "env": [{"name": "A", "value": "1"}]}
    return {"spec": {"containers": [container]}}


def tfjob(namespace: str, *, suspend: bool = False, name: str = "gan") -> Object:
    replicas = {
        role: {"replicas": 1, "template": template("tensorflow")} for role in ("Chief", "Worker")
    }
    spec = {"runPolicy": {"suspend": suspend}, "tfReplicaSpecs": replicas}
    return made("TFJob", "kubeflow.org/v1", spec, namespace, name)


def notebook(namespace: str, *, stopped: bool = False, name: str = "gan") -> Object:
    annotations = {"kubeflow-resource-stopped": "2026-11-01T00:00:00Z"} if stopped else {}
    spec = {"template": template(name)}
    return made("Notebook", "kubeflow.org/v1", spec, namespace, name, annotations=annotations)


def deployment(namespace: str, image: str = OLD, name: str = "gan") -> Object:
    labels = {"app": name}
    pod = template("main", image) | {"metadata": {"labels": labels}}
    pod["spec"]["containers"].append({"name": "side", "image": "quay.io/x/y:1"})
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    return made("Deployment", "apps/v1", spec, namespace, name, labels=labels)


def job(namespace: str, name: str = "gan") -> Object:
    pod = template("main")
    pod["spec"]["restartPolicy"] = "Never"
    return made("Job", "batch/v1", {"template": pod}, namespace, name)


def serving(namespace: str, name: str = "gan") -> Object:
    predictor = {"containers": template("kserve-container")["spec"]["containers"]}
    spec = {"predictor": predictor}
    return made("InferenceService", "serving.kserve.io/v1beta1", spec, namespace, name)


def apply(who: Access, item: Object, manager: str = "kitbag") -> Object:
    """Server-side apply, as `kitbag apply` does it unless another manager is named."""
    query = f"?fieldManager={manager}"
    place = Cluster(who.http)
    ref = Ref.of(item)
    path = place.resource(ref.api_version, ref.kind).path(ref.namespace, ref.name)
    kind = {"Content-Type": "application/apply-patch+yaml"}
    return who.call("PATCH", path + query, item, **kind)


def status(rig: Rig, item: Object, said: Object) -> None:
    """What the kind's controller would write."""
    ref = Ref.of(item)
    path = Cluster(rig.admin.http).resource(ref.api_version, ref.kind).path(ref.namespace, ref.name)
    kind = {"Content-Type": "application/merge-patch+json"}
    rig.admin.call("PATCH", f"{path}/status", {"status": said}, **kind)


def as_seen(http: httpx.Client, item: Object) -> Object:
    """The object as it is now."""
    found = Cluster(http).get(Ref.of(item))
    assert found is not None
    return found


def images(item: Any) -> list[str]:
    """Every text under a key `image`, in order."""
    if isinstance(item, dict):
        return [
            found
            for key, value in item.items()
            if key != "managedFields"
            for found in ([value] if key == "image" else images(value))
        ]
    return [found for value in item for found in images(value)] if isinstance(item, list) else []
