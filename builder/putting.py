"""Puts the layers of one image into the repository where it is built.

A layer comes by the cheapest way that works: it is there, it is mounted from a repository that has
it, or its bytes are sent.
"""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO

from builder.errors import BaseNotFoundError
from builder.index import LayerIndex
from builder.layers import archive
from builder.model import Base, Compression, Descriptor, Layer, Pinned
from builder.stores.protocol import Store
from builder.streams import Chunks


class Putter:
    """Safe for threads. `check` is called before bytes move, and raises when the work must stop."""

    def __init__(
        self, store: Store, index: LayerIndex, repo: str, base: Base, check: Callable[[], None]
    ) -> None:
        self._store, self._index = store, index
        self._repo, self._base = repo, base
        self._check = check
        self._mutex = threading.Lock()
        self.moved_bytes = 0

    def base(self, layer: Layer) -> Layer:
        """A layer of the base, which the same store holds: a mount, or else one streamed copy."""
        source = repo_of(self._base, self._store)

        def stream() -> BinaryIO:
            chunks = self._store.blob(source, layer.descriptor.digest)
            try:
                first = next(chunks, b"")
            except FileNotFoundError as error:
                raise BaseNotFoundError(
                    f"{self._store.name} lost the layer {layer.descriptor.digest} of the base "
                    f"{self._base.name!r}; the operator must run `kitbag-server base add "
                    f"{self._base.name}` again."
                ) from error
            return io.BufferedReader(Chunks(itertools.chain([first], chunks)))

        return self.layer(layer, stream, source)

    def mounted(self, layer: Layer, repos: Sequence[str]) -> bool:
        """Whether a layer that was in these repositories could be mounted from one of them.

        Those that have lost it are forgotten. A store that has it and doesn't mount it won't mount
        it from another either.
        """
        for source in repos:
            try:
                self.layer(layer, _not_mounted, source)
            except _NotMountedError:
                if not self._store.missing(source, [layer.descriptor.digest]):
                    return False
                self._index.lost(layer.descriptor.digest, self._store.name, source)
            else:
                return True
        return False

    def own(self, write: Callable[[BinaryIO], archive.Written]) -> Layer:
        """A small layer that is written into memory."""
        out = io.BytesIO()
        written = write(out)
        return self.made(written, partial(io.BytesIO, out.getvalue()))

    def made(
        self,
        written: archive.Written,
        open_blob: Callable[[], BinaryIO],
        compression: Compression = Compression.GZIP,
    ) -> Layer:
        """A layer whose bytes are at hand."""
        descriptor = Descriptor(compression.media_type, written.digest, written.size_bytes)
        return self.layer(Layer(descriptor, written.diff_id), open_blob)

    def layer(
        self, layer: Layer, open_blob: Callable[[], BinaryIO], mount_from: str | None = None
    ) -> Layer:
        """A layer by mount or else its bytes, unless it is there."""

        def opened() -> BinaryIO:
            self._check()  # also before a store's next try
            return open_blob()

        self._check()
        put = self._store.put_blob(self._repo, layer.descriptor, opened, mount_from=mount_from)
        self.moved(put.moved_bytes)
        return layer

    def moved(self, size_bytes: int) -> None:
        """Count bytes that went into the store."""
        with self._mutex:
            self.moved_bytes += size_bytes


class _NotMountedError(Exception):
    """Its bytes would have to move."""


def _not_mounted() -> BinaryIO:
    raise _NotMountedError


def repo_of(base: Pinned, store: Store) -> str:
    """The repository of the store that holds the base, from its pullable name."""
    marker = store.reference("x", base.digest).removesuffix(f"x@{base.digest}")
    return base.image.removeprefix(marker).partition("@")[0]
