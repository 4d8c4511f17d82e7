"""Keeps the lists that Kubeflow's users choose images from up to date with what is offered.

That of the Jupyter web app is in the ConfigMap that its Deployment mounts, that of Notebooks v2 is
a WorkspaceKind's. Which entries are ours is kept beside them, in an annotation: nobody else's is
touched.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from catalog import environments
from catalog.engine import reading
from catalog.environments import Offered
from kitbag.live import options
from kitbag.live.cluster import Cluster
from kitbag.live.connect import connect
from kitbag.live.errors import AwayError, ChangedError, ClusterError, RefusedError
from kitbag.live.objects import Ref
from kitbag.specs import SpecError
from kitbag.specs.offers import FILE, updated
from worker.services import Services

log = logging.getLogger(__name__)

ANNOTATION = "kitbag.dev/offered"
_TIMES = 5


def wanted(kit: Services) -> Mapping[str, Offered] | None:
    """The newest version of each environment that is offered; None where no list is kept."""
    settings = kit.settings
    if not (settings.cluster and (settings.spawner or settings.workspace_kind)):
        return None
    with reading(kit.engine) as session:
        return environments.offered(session)


def mark(offers: Mapping[str, Offered]) -> str:
    """A short text that is another whenever the offers are."""
    said = {name: (offer.number, offer.image) for name, offer in offers.items()}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def offer(kit: Services) -> bool:
    """Write what is offered now; whether all lists are as they should be. A problem is logged."""
    offers = wanted(kit)
    if offers is None:
        return False
    writers: list[tuple[str, Callable[[Cluster, str, Mapping[str, Offered]], None]]] = [
        (kit.settings.spawner, _write),
        (kit.settings.workspace_kind, _write_kind),
    ]
    wrote = [_wrote(kit, place, write, offers) for place, write in writers if place]
    return all(wrote)


def _wrote(
    kit: Services,
    place: str,
    write: Callable[[Cluster, str, Mapping[str, Offered]], None],
    offers: Mapping[str, Offered],
) -> bool:
    try:
        with connect(kit.settings.cluster) as http:
            write(Cluster(http), place, offers)
    except (ClusterError, SpecError) as error:
        log.warning("the launcher's list of %s stays as it is: %s", place, error)
        return False
    return True


def _write_kind(cluster: Cluster, name: str, offers: Mapping[str, Offered]) -> None:
    """The options of a WorkspaceKind; read again and decided anew if somebody wrote meanwhile."""
    for _ in range(_TIMES):
        with suppress(ChangedError):
            return _write_options(cluster, name, offers)
    raise AwayError("others keep changing it")


def _write_options(cluster: Cluster, name: str, offers: Mapping[str, Offered]) -> None:
    ref = Ref(options.API_VERSION, options.KIND, "", name)
    found = cluster.get(ref)
    if found is None:
        raise RefusedError(f"there is no {ref}: correct KITBAG_WORKSPACE_KIND")
    metadata = found["metadata"]
    mine = _mine((metadata.get("annotations") or {}).get(ANNOTATION))
    said = {
        name: options.Offer(name, offer.number, offer.image, offer.python)
        for name, offer in offers.items()
    }
    config, ours = options.updated(found, said, mine)
    if ours == mine and config == found["spec"]["podTemplate"]["options"]["imageConfig"]:
        return
    cluster.merge(
        ref,
        {
            "metadata": {
                "resourceVersion": metadata["resourceVersion"],
                "annotations": {ANNOTATION: json.dumps(ours, sort_keys=True)},
            },
            "spec": {"podTemplate": {"options": {"imageConfig": config}}},
        },
    )
    log.info("%s offers %s", ref, ", ".join(sorted(offers)) or "nothing of ours")


def _write(cluster: Cluster, spawner: str, offers: Mapping[str, Offered]) -> None:
    ref, found = _config_map(cluster, spawner)
    metadata, text = found["metadata"], found["data"][FILE]
    mine = _mine((metadata.get("annotations") or {}).get(ANNOTATION))
    images = {name: offer.image for name, offer in offers.items()}
    data, ours = updated(text.encode(), images, mine)
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
