"""Which live objects run an environment, for somebody who waits and sees what they may see."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from catalog import targets, uses
from catalog.engine import reading
from kitbag import specs
from kitbag.live.cluster import Cluster
from kitbag.live.connect import connect
from kitbag.live.find import Environment, running
from worker.launching import person
from worker.services import Services


class Look(BaseModel):
    """The environment NS/NAME, the namespaces of the cluster to look in, and who is to look."""

    version: str
    namespaces: list[str]
    acts_as: str


def look(kit: Services, asked: Look) -> dict[str, Any]:
    """The objects of the namespaces that run the environment; raises ClusterError, CatalogError.

    `unseen` are sentences about where nobody could look.
    """
    known = _environment(kit, asked.version)
    kinds = specs.of_file(kit.settings.kinds)
    items: list[dict[str, Any]] = []
    unseen: list[str] = []
    with connect(kit.settings.cluster) as http:
        who = person(kit, asked.acts_as, asked.version.partition("/")[0])
        cluster = Cluster(http, who)
        for namespace in asked.namespaces:
            found = running(cluster, known, namespace=namespace, kinds=kinds)
            unseen += [f"{namespace}: {sentence}" for sentence in found.unseen]
            items += [
                {
                    "kind": one.ref.kind,
                    "namespace": one.ref.namespace,
                    "name": one.ref.name,
                    "versions": list(one.versions),
                    "images": list(one.images),
                }
                for one in found.found
                # What is the cluster's own, such as a WorkspaceKind, is found from each of them.
                if one.ref.namespace == namespace or namespace == asked.namespaces[0]
            ]
    return {"items": items, "unseen": unseen}


def _environment(kit: Services, name: str) -> Environment:
    """What tells the environment's images from others, here and at the cluster's target."""
    at = kit.settings.cluster_target
    with reading(kit.engine) as session:
        images = list(uses.images(session, name))
        if at:
            near = targets.find(session, name.partition("/")[0], at)
            images += [
                (number, f"{near.prefix}/{name}@{image.rpartition('@')[2]}")
                for number, image in images
            ]
    return Environment.of(name, images)
