"""An image from one store to another, moving only what the other one lacks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from builder.errors import BaseNotFoundError, StoreRefusedError
from builder.model import INDEX_TYPE, Descriptor, Platform
from builder.stores.names import check_digest
from builder.stores.parse import parse_object
from builder.stores.protocol import DOCKER_INDEX_TYPE, Manifest, Put, Store

MAX_CHILDREN = 256
MAX_LAYERS = 1024
MAX_DEPTH = 2
"""Indexes in indexes: one inside another is what exists."""


def copy_image(
    src: Store,
    src_repo: str,
    reference: str,
    dst: Store,
    dst_repo: str,
    *,
    tags: Iterable[str] = (),
    platform: Platform | None = None,
    parallel: int = 4,
    mount_from: Callable[[str], str | None] = lambda _: None,
    on_put: Callable[[Put], None] = lambda _: None,
) -> Manifest:
    """Make an image of `src` one of `dst`, the same bytes under the same digest; returns it.

    An index is copied with all it names, or, for a platform, only that platform's image is.
    Missing blobs stream through, `parallel` at a time, and are mounted where both stores are one
    registry, or where `mount_from` names a repository of `dst` that may hold a digest. Each blob
    that is put is told to `on_put`, from several threads. The manifest comes last, so that a
    failure publishes nothing, and a new try moves only what is still missing. Raises
    BaseNotFoundError if the source has no such image or none for the platform.
    """
    found = src.manifest(src_repo, reference)
    if found is None:
        raise BaseNotFoundError(
            f"{src.name} has no image {src_repo}:{reference}: check its name and tag"
            if not reference.startswith("sha256:")
            else f"{src.name} has no image {src_repo}@{reference}: check its name and digest"
        )
    if platform is not None:
        found = select_platform(src, src_repo, found, platform)
    moving = _Moving(src, src_repo, dst, dst_repo, parallel, mount_from, on_put)
    moving.copy(found, tuple(tags))
    return found


def select_platform(store: Store, repo: str, found: Manifest, platform: Platform) -> Manifest:
    """The platform's image of an index; an image itself, whose config says what it runs on.

    Raises BaseNotFoundError, naming what there is, if the index has none.
    """
    if not is_index(found):
        return found
    offered: list[str] = []
    for child in _list(found, "manifests", MAX_CHILDREN):
        said = child.get("platform")
        runs_on = said if isinstance(said, dict) else {}
        if (runs_on.get("os"), runs_on.get("architecture")) == (platform.os, platform.arch):
            return _child(store, repo, child)
        if runs_on.get("os") not in (None, "unknown"):
            offered.append(f"{runs_on['os']}/{runs_on.get('architecture')}")
    raise BaseNotFoundError(
        f"{store.name}/{repo}@{found.digest} has no image for {platform}, only "
        f"{', '.join(sorted(set(offered))[:16]) or 'none at all'}: choose another base"
    )


def is_index(manifest: Manifest) -> bool:
    """Whether it names other manifests and not layers."""
    return manifest.media_type in (INDEX_TYPE, DOCKER_INDEX_TYPE)


def blobs_of(manifest: Manifest) -> list[Descriptor]:
    """Config and layers of an image, in manifest order, each once."""
    if is_index(manifest):
        return []
    layers = [_descriptor(layer) for layer in _list(manifest, "layers", MAX_LAYERS)]
    config = _descriptor(_parsed(manifest).get("config") or {})
    return list({blob.digest: blob for blob in [config, *layers]}.values())


@dataclass(frozen=True, slots=True)
class _Moving:
    """From where to where, and how."""

    src: Store
    src_repo: str
    dst: Store
    dst_repo: str
    parallel: int
    mount_from: Callable[[str], str | None]
    on_put: Callable[[Put], None]

    def copy(self, manifest: Manifest, tags: tuple[str, ...], depth: int = 0) -> None:
        """All that the manifest names, then the manifest."""
        if is_index(manifest):
            if depth >= MAX_DEPTH:
                raise _not_an_image(manifest)
            for entry in _list(manifest, "manifests", MAX_CHILDREN):
                self.copy(_child(self.src, self.src_repo, entry), (), depth + 1)
        else:
            self._blobs(blobs_of(manifest))
        self.dst.put_manifest(self.dst_repo, manifest, tags=tags)

    def _blobs(self, blobs: list[Descriptor]) -> None:
        missing = self.dst.missing(self.dst_repo, [blob.digest for blob in blobs])
        with ThreadPoolExecutor(self.parallel) as threads:
            puts = [threads.submit(self._put, blob) for blob in blobs if blob.digest in missing]
            try:
                for done in as_completed(puts):
                    done.result()
            finally:
                threads.shutdown(cancel_futures=True)

    def _put(self, blob: Descriptor) -> None:
        def open_blob() -> BinaryIO:
            return cast("BinaryIO", _Reader(lambda: self.src.blob(self.src_repo, blob.digest)))

        one_registry = self.src.name == self.dst.name and self.src_repo != self.dst_repo
        place = self.src_repo if one_registry else self.mount_from(blob.digest)
        self.on_put(self.dst.put_blob(self.dst_repo, blob, open_blob, mount_from=place))


class _Reader(io.RawIOBase):
    """Chunks of a blob as a file that can be read once."""

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._chunks = chunks()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join([bytes(self._rest), *self._chunks])
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        super().close()


def images_of(store: Store, repo: str, found: Manifest) -> list[Manifest]:
    """The images that an index lists, through at most MAX_DEPTH of them; an image itself."""
    return _images(store, repo, found, 0)


def _images(store: Store, repo: str, found: Manifest, depth: int) -> list[Manifest]:
    if not is_index(found):
        return [found]
    if depth >= MAX_DEPTH:
        raise _not_an_image(found)
    children = [_child(store, repo, entry) for entry in _list(found, "manifests", MAX_CHILDREN)]
    return [image for each in children for image in _images(store, repo, each, depth + 1)]


def _child(store: Store, repo: str, entry: dict[str, Any]) -> Manifest:
    digest = _descriptor(entry).digest
    found = store.manifest(repo, digest)
    if found is None:
        raise BaseNotFoundError(
            f"{store.name}/{repo} lists {digest} but does not hold it: choose another image"
        )
    return found


def _list(manifest: Manifest, key: str, limit: int) -> list[dict[str, Any]]:
    entries = _parsed(manifest).get(key)
    if not isinstance(entries, list) or len(entries) > limit:
        raise _not_an_image(manifest)
    if not all(isinstance(entry, dict) for entry in entries):
        raise _not_an_image(manifest)
    return entries


def _parsed(manifest: Manifest) -> dict[str, Any]:
    try:
        return parse_object(manifest.data)
    except ValueError:
        raise _not_an_image(manifest) from None


def _descriptor(entry: dict[str, Any]) -> Descriptor:
    try:
        digest = check_digest(str(entry["digest"]))
        return Descriptor(str(entry["mediaType"]), digest, int(entry["size"]))
    except (KeyError, TypeError, ValueError):
        raise StoreRefusedError(
            "A manifest of the image names a blob without digest, size or type: choose another one"
        ) from None


def _not_an_image(manifest: Manifest) -> StoreRefusedError:
    return StoreRefusedError(
        f"{manifest.digest} ({manifest.media_type[:80]}) is not an image that can be copied: "
        "choose another one"
    )
