"""A base from a registry image: copied to where builds happen, since registries delete old tags."""

from __future__ import annotations

from dataclasses import replace

from builder.bases.introspect import introspect
from builder.model import Base, Platform
from builder.stores.copy import copy_image
from builder.stores.names import is_digest
from builder.stores.protocol import Store

_TAG_CHARS = 128 - len("-linux-riscv64")


def from_registry(
    src: Store,
    src_repo: str,
    reference: str,
    dst: Store,
    dst_repo: str,
    *,
    name: str,
    platform: Platform,
) -> Base:
    """Mirror the platform's image of `src` into `dst_repo`, pin it by digest and look into it.

    What `dst` holds already is not moved. The tag in `dst` comes last, so that an image which can't
    be built on is left without one, for the garbage collector. Raises BaseNotFoundError if there is
    no such image or it can't be built on, and what `introspect` and the stores raise.
    """
    manifest = copy_image(src, src_repo, reference, dst, dst_repo, platform=platform)
    base = introspect(dst, dst_repo, manifest.digest, name=name, platform=platform)
    tag = reference.replace(":", "-")
    if platform != Platform():  # which has had the plain tag from the beginning
        tag = f"{tag[:_TAG_CHARS]}-{platform.os}-{platform.arch}"
    dst.put_manifest(dst_repo, manifest, tags=(tag,))
    mark = "@" if is_digest(reference) else ":"
    return replace(base, source=f"{src.name}/{src_repo}{mark}{reference}")
