"""The bytes of a blob, from any place on, as often as an upload needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from builder.errors import BuildError

READ_BYTES = 256 << 10


class Source:
    """What `open_blob` gives; it stays open from one read to the next.

    A source that can't seek, such as a download, would otherwise begin anew for each chunk.
    """

    def __init__(self, open_blob: Callable[[], BinaryIO], digest: str) -> None:
        self._open_blob = open_blob
        self._digest = digest
        self._stream: BinaryIO | None = None
        self._position = 0

    def read(self, start: int, length: int) -> Iterator[bytes]:
        """The bytes from `start` on; BuildError if the blob has fewer."""
        stream = self._at(start)
        left = length
        while left:
            chunk = stream.read(min(READ_BYTES, left))
            if not chunk:
                raise BuildError(
                    f"The bytes of {self._digest} end {left} bytes early: delete them from the "
                    "cache and build again"
                )
            left -= len(chunk)
            self._position += len(chunk)
            yield chunk

    def close(self) -> None:
        """Close what was opened."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _at(self, start: int) -> BinaryIO:
        """The stream, about to give the byte at `start`."""
        if self._stream is None or self._position > start:
            self.close()
            self._stream, self._position = self._open_blob(), 0
        if self._position < start and self._stream.seekable():
            self._position = self._stream.seek(start)
        while self._position < start:
            skipped = self._stream.read(min(READ_BYTES, start - self._position))
            if not skipped:
                break
            self._position += len(skipped)
        return self._stream
