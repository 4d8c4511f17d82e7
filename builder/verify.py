"""Builds an image again from its lock, out of nothing that was made before, and compares.

lock + base ──> empty cache ──> scratch layout ──> digests ──equal?── the image's own
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from builder import cuda, layered
from builder.index import MemoryIndex
from builder.layers import zst
from builder.layers.cache import LayerCache
from builder.model import ZSTD_LAYER_TYPE, Base, Layer, Lock, Step
from builder.stored import Stored
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Store
from builder.streams import Chunks

MAX_FILES = 100
"""So many files that differ are named; that there are more shows in the layers."""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """A layer that came out otherwise; None where one image has no such layer.

    `files` are those whose content or entry differs, at most MAX_FILES over all layers.
    """

    number: int
    holds: str
    stored: str | None
    rebuilt: str | None
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it; without differences in layers, unequal digests mean another config.

    `lost` are digests of layers that the store doesn't give any more, whatever came of the rest.
    """

    equal: bool
    stored: str
    rebuilt: str
    layers: tuple[LayerDifference, ...]
    lost: tuple[str, ...] = ()


def verify(
    stored: Stored,
    lock: Lock,
    base: Base,
    repo: str,
    tools: layered.Tools,
    scratch: Path,
    *,
    report: Callable[[Step], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Build the lock again in the empty folder `scratch` and compare with the image in the store.

    `tools.compiler` must be the CPython that the image names, and what packs here what packed it if
    it is Zstandard (`zst.PACKER`); nothing is written to the store.
    Raises what a build raises.
    """
    # The base's layers are compared by name alone.
    held = frozenset(layer.descriptor.digest for layer in base.layers)
    layout = LayoutStore(scratch / "layout", name="verify", elsewhere=held)
    clean = replace(
        tools,
        store=layout,
        index=MemoryIndex(),
        cache=LayerCache(scratch / "cache"),
        compression=stored.compression,
    )
    needs = cuda.of(lock, stored.accelerator)
    made, _ = layered.build(lock, base, repo, clean, cuda=needs, report=report, cancelled=cancelled)
    lost = _lost(tools.store, repo, stored.layers)
    if made.digest == stored.digest:
        return Verdict(True, stored.digest, made.digest, (), lost)
    titles = layered.titles_of(lock, base)
    differences: list[LayerDifference] = []
    left = MAX_FILES
    for number in range(max(len(stored.layers), len(made.layers))):
        before = stored.layers[number] if number < len(stored.layers) else None
        after = made.layers[number] if number < len(made.layers) else None
        if before == after:
            continue
        files: tuple[str, ...] = ()
        if before and after and left:
            files = _files(tools.store, layout, repo, before, after)[:left]
        left -= len(files)
        differences.append(
            LayerDifference(
                number,
                titles[number] if number < len(titles) else "",
                before.descriptor.digest if before else None,
                after.descriptor.digest if after else None,
                files,
            )
        )
    return Verdict(False, stored.digest, made.digest, tuple(differences), lost)


def _lost(store: Store, repo: str, layers: Iterable[Layer]) -> tuple[str, ...]:
    """The layers that can't be pulled: a registry may say of a blob that it lost that it has it."""
    lost = []
    for layer in layers:
        chunks = store.blob(repo, layer.descriptor.digest)
        try:
            next(chunks, None)
        except FileNotFoundError:
            lost.append(layer.descriptor.digest)
    return tuple(lost)


def _files(
    store: Store, layout: LayoutStore, repo: str, before: Layer, after: Layer
) -> tuple[str, ...]:
    """The names whose entries differ; that of a blob that the store lost is said instead."""
    try:
        old = _entries(store.blob(repo, before.descriptor.digest), before)
    except FileNotFoundError:
        return ("(the registry lost this layer)",)
    new = _entries(layout.blob(repo, after.descriptor.digest), after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(names[:MAX_FILES]) or ("(the same files, packed otherwise)",)


def _entries(chunks: Iterator[bytes], layer: Layer) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    packed = io.BufferedReader(Chunks(chunks))
    # Not r|gz: tarfile reads the first gzip member alone, and a spliced layer has thousands.
    read = zst.reader if layer.descriptor.media_type == ZSTD_LAYER_TYPE else _gunzipped
    with (
        read(packed) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            digest = _sha256(content) if content else ""
            found[entry.name] = (
                *(entry.type, entry.mode, entry.uid, entry.gid, entry.mtime),
                *(entry.linkname, entry.size, digest),
            )
    return found


def _gunzipped(packed: BinaryIO) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))


def _sha256(content: IO[bytes]) -> str:
    hashed = hashlib.sha256()
    while chunk := content.read(1 << 20):
        hashed.update(chunk)
    return hashed.hexdigest()
