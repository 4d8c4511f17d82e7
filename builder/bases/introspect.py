"""What an image offers to be built on, found without unpacking it."""

from __future__ import annotations

from builder.bases import facts
from builder.bases.layertar import Budget, Limits, entries
from builder.bases.manifest import PinnedImage, mapping, pin
from builder.bases.tree import Tree
from builder.errors import BaseNotFoundError
from builder.model import Base, Platform
from builder.stores.protocol import Store

_NO_LIMITS = Limits()


def introspect(
    store: Store,
    repo: str,
    reference: str,
    *,
    name: str,
    platform: Platform,
    limits: Limits = _NO_LIMITS,
) -> Base:
    """Look into an image of the store once: its Python, C library, CUDA, user and environment.

    `reference` is a tag or digest, of an image or an index; the base is pinned to the platform's
    manifest. Layers are streamed, nothing is written. Raises BaseNotFoundError if there is no such
    image or it can't be built on, InvalidSpecError if it is damaged or hostile, TooLargeError, and
    what the store raises.
    """
    image = pin(store, repo, reference, platform)
    tree = look(store, repo, image, limits)
    env = tuple(map(str, image.settings.get("Env") or ()))
    labels = {str(k): str(v) for k, v in mapping(image.settings.get("Labels")).items()}
    what = f"{repo}:{reference} ({facts.distribution(tree)})".replace(":sha256:", "@sha256:")
    python = facts.python(tree, env)
    glibc = facts.glibc(tree, platform)
    if glibc is None:
        libc = "musl" if facts.has_musl(tree) else "no GNU C library"
        raise BaseNotFoundError(
            f"{what} has {libc}, and most wheels are built for glibc (manylinux); "
            "name an image of Debian, Ubuntu, Fedora or their kin."
        )
    if python is None:
        raise BaseNotFoundError(
            f"{what} has no Python; `kitbag-server base add NAME --from IMAGE` derives a base "
            "from it that has one."
        )
    return Base(
        name=name,
        image=store.reference(repo, image.digest),
        digest=image.digest,
        platform=platform,
        layers=image.layers,
        python=python,
        glibc=glibc,
        env=env,
        labels=labels,
        user=str(image.settings.get("User") or ""),
        passwd=facts.text(tree, "etc", "passwd"),
        group=facts.text(tree, "etc", "group"),
        cuda=facts.cuda(tree, env, labels),
        source=store.reference(repo, image.digest),
    )


def look(store: Store, repo: str, image: PinnedImage, limits: Limits = _NO_LIMITS) -> Tree:
    """The telling files of an image, whatever is in it; raises what `introspect` raises for it."""
    tree, budget = Tree(facts.Telling()), Budget(limits)
    for layer in image.layers:
        try:
            tree.apply(entries(store.blob(repo, layer.descriptor.digest), budget))
        except FileNotFoundError as error:
            raise BaseNotFoundError(
                f"{repo} lacks a layer of its image {image.digest}; push the image again."
            ) from error
    return tree
