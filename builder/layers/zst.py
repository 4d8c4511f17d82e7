"""Layers as Zstandard (RFC 8878), the same bytes for the same tar on every machine.

    spliced gzip layer ─> inflate ─> pieces of FRAME_BYTES ─> a frame each ─> layer

A Zstandard file may be many frames back to back, and inflating it gives their contents back to
back. The pieces have a fixed size, so that how many are compressed at once changes no byte. Level 3
has no match finder that depends on the processor. Another release of libzstd may compress to other
bytes: its version is part of the layer key, and the image names it.
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import IO, BinaryIO, cast

from isal import igzip, isal_zlib

from builder.errors import BuildError
from builder.layers.ahead import Ahead
from builder.layers.archive import Written

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
FRAME_BYTES = 4 << 20
AHEAD_BYTES = 96 << 20
"""Pieces of all layers that are being compressed, or wait to be written."""

PACKER = f"zstd-{zstd.zstd_version}"
"""What packs here: format and version of its library."""


def repack(
    out: BinaryIO,
    spliced: BinaryIO,
    made: Written,
    executor: Executor,
    ahead: Ahead,
    check: Callable[[], None] = lambda: None,
) -> Written:
    """Write the tar of a gzip layer as Zstandard; `made` is what is known of that layer.

    `check` is called at each piece and may raise to stop. Raises BuildError for a layer that was
    damaged on disk: the inflater checks each member's CRC-32.
    """
    hashed = hashlib.sha256()
    size_bytes = 0
    for packed in _frames(_pieces(spliced, made), executor, ahead):
        check()
        hashed.update(packed)
        size_bytes += len(packed)
        out.write(packed)
    return Written(
        digest=f"sha256:{hashed.hexdigest()}",
        diff_id=made.diff_id,
        size_bytes=size_bytes,
        plain_bytes=made.plain_bytes,
        body_start=0,
        body_end=size_bytes,
    )


def frame(piece: bytes) -> bytes:
    """One whole frame that inflates to the piece, whose size is written into it."""
    return bytes(zstd.compress(piece, LEVEL))


def reader(packed: BinaryIO) -> IO[bytes]:
    """What a file of frames inflates to."""
    return cast("IO[bytes]", zstd.ZstdFile(packed))


def _pieces(spliced: BinaryIO, made: Written) -> Iterator[bytes]:
    """The tar in pieces, whole."""
    left_bytes = made.plain_bytes
    plain = igzip.IGzipFile(fileobj=spliced)  # type: ignore[no-untyped-call]
    try:
        while piece := plain.read(FRAME_BYTES):
            left_bytes -= len(piece)
            yield piece
    except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc]
        raise _damaged(made) from error
    if left_bytes:
        raise _damaged(made)


def _damaged(made: Written) -> BuildError:
    return BuildError(
        f"The layer {made.digest} in the cache is damaged: delete it and build again."
    )


def _frames(pieces: Iterator[bytes], executor: Executor, ahead: Ahead) -> Iterator[bytes]:
    """The frames in order, several at a time."""
    waiting: deque[tuple[int, Future[bytes]]] = deque()

    def oldest() -> bytes:
        taken_bytes, future = waiting.popleft()
        try:
            return future.result()
        finally:
            ahead.add(-taken_bytes)

    try:
        for piece in pieces:
            ahead.add(len(piece))
            waiting.append((len(piece), executor.submit(frame, piece)))
            while waiting and (ahead.full or waiting[0][1].done()):
                yield oldest()
        while waiting:
            yield oldest()
    finally:
        ahead.add(-sum(taken_bytes for taken_bytes, _ in waiting))
