"""Manifests that are about to be applied, held against the objects that are there already."""

from __future__ import annotations

from dataclasses import dataclass

from ..specs import Kinds, SpecError, builtin
from ..specs.find import Finder
from ..specs.find import Wanted as Narrowed
from ..specs.kinds import Kind, text_at
from ..specs.lives import Effect, rule
from ..specs.nodes import Node, Scalar
from ..specs.path import first
from ..specs.read import read
from ..specs.source import Source
from ..specs.write import Edit, replaced
from .cluster import Cluster
from .decide import Wanted
from .objects import Json, Ref, places, renamed, root

_HARMFUL = (Effect.MIXES, Effect.FIXED, Effect.APPENDS)


@dataclass(frozen=True, slots=True)
class Checked:
    """A file as it may be applied: `data` has new names where copies were asked for.

    `refused` are sentences about objects that must not be changed so; then nothing should be.
    """

    data: bytes
    refused: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()


def may_harm(data: bytes, filename: str, kinds: Kinds | None = None) -> bool:
    """Whether a file has objects of a kind whose image can't simply be changed.

    What isn't YAML is kubectl's to refuse.
    """
    table = kinds or builtin()
    try:
        nodes = read(Source(data, filename))
    except SpecError:
        return False
    rows = [table.find(node, filename) for node in nodes]
    return any(live.change in _HARMFUL for row in rows if row for live in row.live)


def check(
    cluster: Cluster,
    data: bytes,
    filename: str,
    namespace: str,
    *,
    clone: bool = False,
    kinds: Kinds | None = None,
) -> Checked:
    """What of a pinned file may be applied to the cluster; `namespace` is that of objects without.

    With `clone` objects that can't change get a new name instead. Raises ClusterError, SpecError.
    """
    table = kinds or builtin()
    source = Source(data, filename)
    edits: list[Edit] = []
    refused: list[str] = []
    copies: list[str] = []
    for node in read(source) if may_harm(data, filename, table) else ():
        row = table.find(node, filename)
        if row is None or not any(live.change in _HARMFUL for live in row.live):
            continue
        ref = _ref(node, namespace, cluster)
        there = cluster.get(ref) if ref is not None else None
        if ref is None or there is None:
            continue
        image = _new_image(source, node, there, table)
        why = _why(cluster, there, row, ref) if image else None
        if image is None or why is None:
            continue
        name = first(node, "metadata.name")
        if clone and isinstance(name, Scalar) and any(live.clone for live in row.live):
            made = str(renamed(there, Wanted(image).suffix)["metadata"]["name"])
            edits.append(replaced(source, name, made))
            copies.append(f"{ref} {why}: its copy is {made}")
        else:
            refused.append(f"line {source.line(node.start)}: {ref} {why}")
    return Checked(source.splice(edits) if edits else data, tuple(refused), tuple(copies))


def _ref(node: Node, namespace: str, cluster: Cluster) -> Ref | None:
    api_version, kind = text_at(node, "apiVersion") or "", text_at(node, "kind") or ""
    name = text_at(node, "metadata.name")
    if not name:
        return None  # a generateName makes a new one each time
    place = text_at(node, "metadata.namespace") or namespace
    return Ref(api_version, kind, place, name) if cluster.serves(api_version, kind) else None


def _new_image(source: Source, node: Node, there: Json, table: Kinds) -> str | None:
    """The first image of the file that the object doesn't have at that place."""
    now = {place.path: place.image for place in places(there, table)[0]}
    for site in Finder(source, table, Narrowed()).find(node).sites:
        text = site.scalar.text if site.scalar else None
        if text and site.path in now and now[site.path] != text:
            return text
    return None


def _why(cluster: Cluster, there: Json, row: Kind, ref: Ref) -> str | None:
    """What is wrong with giving the object another image; None where nothing is."""

    def pods(label: str) -> int:
        return cluster.pods(ref.namespace, label, ref.name)

    live = rule(row.live, root(there), pods)
    if live is None:
        return None
    way_out = f"{live.say}, or apply a copy with --clone" if live.clone else live.say
    return {
        Effect.MIXES: f"runs, and applying would mix two images in it: {way_out}",
        Effect.FIXED: f"can't change its image: {way_out}",
        Effect.APPENDS: "may be in use with the image it has: `kitbag rollout` adds a choice",
        Effect.ENDED: "has ended, so it would never run the image: apply it under another name,"
        " or a copy with --clone",
    }.get(live.change)
