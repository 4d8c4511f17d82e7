"""Keeps the image list of Kubeflow's Jupyter web app up to date with what is offered.

The list is in the ConfigMap that the web app's Deployment mounts. Which entries are ours is kept
beside them, in an annotation: nobody else's is touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any

from catalog import environments
from catalog.engine import reading
from kitbag.live.cluster import Cluster
from kitbag.live.errors import ClusterError, RefusedError
from kitbag.live.objects import Ref
from kitbag.specs import SpecError
from kitbag.specs.offers import FILE, updated
from worker.cluster import connect
from worker.services import Services

log = logging.getLogger(__name__)

ANNOTATION = "kitbag.dev/offered"


def wanted(kit: Services) -> dict[str, str] | None:
    """The newest image of each environment that is offered; None where no list is kept."""
    if not (kit.settings.cluster and kit.settings.spawner):
        return None
    with reading(kit.engine) as session:
        return environments.offered(session)


def mark(offers: Mapping[str, str]) -> str:
    """A short text that is another whenever the offers are."""
    return hashlib.sha256(json.dumps(offers, sort_keys=True).encode()).hexdigest()


def offer(kit: Services) -> bool:
    """Write what is offered now; whether the list is as it should be. A problem is logged."""
    offers = wanted(kit)
    if offers is None:
        return False
    try:
        with connect(kit.settings.cluster) as http:
            _write(Cluster(http), kit.settings.spawner, offers)
    except (ClusterError, SpecError) as error:
        log.warning("the launcher's list of %s stays as it is: %s", kit.settings.spawner, error)
        return False
    return True


def _write(cluster: Cluster, spawner: str, offers: Mapping[str, str]) -> None:
    ref, found = _config_map(cluster, spawner)
    metadata, text = found["metadata"], found["data"][FILE]
    mine = _mine((metadata.get("annotations") or {}).get(ANNOTATION))
    data, ours = updated(text.encode(), offers, mine)
    if ours == mine and data == text.encode():
        return
    fields = {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            # Refused if somebody wrote meanwhile; the next sweep starts from what they wrote.
            "resourceVersion": metadata["resourceVersion"],
            "annotations": {ANNOTATION: json.dumps(ours, sort_keys=True)},
        },
        "data": {FILE: data.decode()},
    }
    cluster.apply(ref, fields, force=True)
    log.info("%s offers %s", ref.name, ", ".join(ours) or "nothing of ours")


def _config_map(cluster: Cluster, spawner: str) -> tuple[Ref, dict[str, Any]]:
    """The ConfigMap of the Deployment's volumes that has the list."""
    namespace, _, name = spawner.partition("/")
    deployment = cluster.get(Ref("apps/v1", "Deployment", namespace, name))
    if deployment is None:
        raise RefusedError(f"there is no Deployment {spawner}: correct KITBAG_SPAWNER")
    for volume in deployment["spec"]["template"]["spec"].get("volumes") or ():
        source = volume.get("configMap") or {}
        if "name" in source:
            ref = Ref("v1", "ConfigMap", namespace, source["name"])
            found = cluster.get(ref)
            if found is not None and FILE in (found.get("data") or {}):
                return ref, found
    raise RefusedError(f"no volume of the Deployment {spawner} is a ConfigMap with a {FILE}")


def _mine(annotation: str | None) -> dict[str, str]:
    """What the annotation says; nothing if somebody broke it, so that no entry goes by mistake."""
    try:
        said = json.loads(annotation or "{}")
    except ValueError:
        return {}
    return {str(env): str(image) for env, image in said.items()} if isinstance(said, dict) else {}
