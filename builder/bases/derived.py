"""A base that an engine made from another: only what it added is looked into."""

from __future__ import annotations

from dataclasses import replace

from builder.bases import facts
from builder.bases.introspect import introspect
from builder.bases.layertar import Budget, Limits, entries
from builder.bases.manifest import pin
from builder.bases.tree import Tree
from builder.errors import BaseNotFoundError
from builder.model import Base
from builder.stores.protocol import Store


def derived(store: Store, repo: str, digest: str, base: Base) -> Base:
    """The image as a base: it has the Python of `base` unless it brings another file for it.

    Raises what `introspect` raises.
    """
    image = pin(store, repo, digest, base.platform)
    below = [layer.diff_id for layer in base.layers]
    if [layer.diff_id for layer in image.layers[: len(below)]] != below:
        return introspect(store, repo, digest, name=base.name, platform=base.platform)
    tree, budget = Tree(facts.Telling()), Budget(Limits())
    for layer in image.layers[len(below) :]:
        try:
            tree.apply(entries(store.blob(repo, layer.descriptor.digest), budget))
        except FileNotFoundError as error:
            raise BaseNotFoundError(
                f"{repo} lacks a layer of its image {digest}; build again."
            ) from error
    if tree.find(*base.python.path.strip("/").split("/")) is not None:
        return introspect(store, repo, digest, name=base.name, platform=base.platform)
    return replace(
        base,
        image=store.reference(repo, image.digest),
        digest=image.digest,
        layers=image.layers,
        passwd=facts.text(tree, "etc", "passwd") or base.passwd,
        group=facts.text(tree, "etc", "group") or base.group,
    )
