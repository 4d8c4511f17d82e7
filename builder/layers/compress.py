"""A plain tar as a gzip layer, the same bytes on every machine."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from builder.cores import cores
from builder.layers.gz import member
from builder.model import LAYER_TYPE, Descriptor, Layer

_CHUNK_BYTES = 4 << 20
_AHEAD = 4


def compress(tar: IO[bytes], target: Path, check: Callable[[], None] = lambda: None) -> Layer:
    """Compress into gzip members of fixed pieces, several at a time, in order.

    `check` is called before each piece and may raise. Raises OSError if `target` can't be written.
    """
    plain, packed, size_bytes = hashlib.sha256(), hashlib.sha256(), 0

    def seen(piece: bytes) -> None:
        check()
        plain.update(piece)

    with target.open("wb") as file, ThreadPoolExecutor(cores()) as pool:
        for data in _ordered(pool, _pieces(tar, seen)):
            packed.update(data)
            size_bytes += file.write(data)
    descriptor = Descriptor(LAYER_TYPE, f"sha256:{packed.hexdigest()}", size_bytes)
    return Layer(descriptor, f"sha256:{plain.hexdigest()}")


def _pieces(tar: IO[bytes], seen: Callable[[bytes], None]) -> Iterator[bytes]:
    while piece := tar.read(_CHUNK_BYTES):
        seen(piece)
        yield piece


def _ordered(pool: ThreadPoolExecutor, pieces: Iterator[bytes]) -> Iterator[bytes]:
    running: deque[Future[bytes]] = deque()
    for piece in pieces:
        running.append(pool.submit(member, piece))
        if len(running) > _AHEAD:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
