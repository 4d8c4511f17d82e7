"""An image between a store and an OCI layout that a BuildKit client reads or writes.

Source: OCI image-spec v1.1, "OCI Image Layout".
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from builder.errors import EngineBuildError
from builder.layered import tag_of
from builder.model import Pinned
from builder.putting import repo_of
from builder.stores.copy import blobs_of, copy_image, is_index
from builder.stores.ingest import disk_errors
from builder.stores.layout import LayoutStore
from builder.stores.names import check_digest, digest_of
from builder.stores.protocol import Manifest, Store

_MAX_JSON_BYTES = 8 << 20


BASE, STAGE = "base", "stage"
"""Where in a layout the bases are that many builds start from, and those of one build alone."""


def mirror(base: Pinned, store: Store, layout: Path, place: str, check: Callable[[], None]) -> None:
    """Make `layout` one that holds the base, moving only what it lacks."""
    check()
    copy_image(store, repo_of(base, store), base.digest, LayoutStore(layout), place)


def ingest(archive: Path, store: Store, repo: str, check: Callable[[], None]) -> str:
    """Put the one image of an archive of a layout into the store; returns its digest.

    Blobs that the store has already are not read; the others are verified as they go in.
    """
    with disk_errors(archive.parent), tarfile.open(archive, "r:") as tar:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers()}

        def opened(digest: str) -> BinaryIO:
            name = f"blobs/sha256/{check_digest(digest).removeprefix('sha256:')}"
            found = tar.extractfile(members[name]) if name in members else None
            if found is None:
                raise _damaged()
            return cast("BinaryIO", found)

        index = tar.extractfile(members["index.json"]) if "index.json" in members else None
        if index is None:
            raise _damaged()
        try:
            (entry,) = json.loads(index.read(_MAX_JSON_BYTES))["manifests"]
            digest, kind = str(entry["digest"]), str(entry["mediaType"])
        except (ValueError, KeyError, TypeError):
            raise _damaged() from None
        with opened(digest) as stream:
            data = stream.read(_MAX_JSON_BYTES)
        manifest = Manifest(kind, digest, data)
        if digest_of(data) != digest or is_index(manifest):
            raise _damaged()
        blobs = {blob.digest: blob for blob in blobs_of(manifest)}
        missing = store.missing(repo, blobs)
        for blob in blobs.values():
            check()
            if blob.digest in missing:
                store.put_blob(repo, blob, partial(_whole, opened, blob.digest))
        store.put_manifest(repo, manifest, tags=[tag_of(digest)])
    return digest


def _whole(opened: Callable[[str], BinaryIO], digest: str) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", opened(digest))))


def _damaged() -> EngineBuildError:
    return EngineBuildError(
        "The engine gave an image that is not whole; its operator finds the cause in its log."
    )
