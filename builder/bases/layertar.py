"""A layer's entries, read from its compressed stream with a limit on everything it can claim."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Self, cast

from isal import igzip, isal_zlib

from builder.errors import BaseNotFoundError, InvalidSpecError, TooLargeError

_BUFFER_BYTES = 1 << 20
_ISAL_ERROR = cast("type[Exception]", isal_zlib.error)  # its stub calls it an instance
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the layers of one image may come to, unpacked, and how large a file may be that's read.

    The largest images in use (CUDA with its SDK) have some 20 GB and 300,000 entries.
    """

    entries: int = 2_000_000
    size_bytes: int = 64 << 30
    header_bytes: int = 1 << 20
    file_bytes: int = 256 << 20


class Budget:
    """What is left of the limits, over all layers of an image."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._entries = limits.entries
        self._size_bytes = limits.size_bytes

    def spend(self, *, entries: int = 0, size_bytes: int = 0) -> None:
        """Take from what is left; raises TooLargeError when it's gone."""
        self._entries -= entries
        self._size_bytes -= size_bytes
        if self._entries < 0 or self._size_bytes < 0:
            raise TooLargeError(
                f"The image unpacks to more than {self.limits.entries:,} files or "
                f"{self.limits.size_bytes >> 30} GiB; name a smaller one as the base."
            )


class _Chunks(io.RawIOBase):
    """An iterator of chunks as a file to read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class _Counted(io.RawIOBase):
    """A stream that spends the budget as it is read."""

    def __init__(self, stream: IO[bytes], budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(min(size, _BUFFER_BYTES) if size >= 0 else _BUFFER_BYTES)
        self._budget.spend(size_bytes=len(data))
        return data


def entries(chunks: Iterator[bytes], budget: Budget) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Each entry of a gzip, zstd or plain tar with its content, to be read before the next one.

    Raises TooLargeError, and InvalidSpecError if the stream is damaged or no tar.
    """

    class Bounded(tarfile.TarInfo):
        """An entry whose extended header, which tarfile holds in memory, has a limited size."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            info = super().frombuf(buf, encoding, errors)
            plain = info.type in tarfile.SUPPORTED_TYPES and info.type not in _EXTENDED
            if not plain and info.size > budget.limits.header_bytes:
                raise TooLargeError("A layer of the image has a giant header; name another image.")
            return info

    try:
        with (
            _decompressed(io.BufferedReader(_Chunks(chunks), _BUFFER_BYTES)) as plain,
            tarfile.open(
                fileobj=_Counted(plain, budget), mode="r|", bufsize=_BUFFER_BYTES, tarinfo=Bounded
            ) as tar,
        ):
            while (info := tar.next()) is not None:
                cast("Any", tar).members.clear()  # or it would hold every entry until the end
                budget.spend(entries=1)
                content = tar.extractfile(info) if info.isreg() else None
                yield info, content or io.BytesIO()
    except (tarfile.TarError, _ISAL_ERROR, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InvalidSpecError(
            f"A layer of the image is damaged ({error}); push it again or name another image."
        ) from error


_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


@contextmanager
def _decompressed(packed: io.BufferedReader) -> Iterator[IO[bytes]]:
    """The stream unpacked, by what it starts with: media types are not always true."""
    magic = packed.peek(4)[:4]
    if magic.startswith(_GZIP):
        with cast("Any", igzip.open)(packed, "rb") as plain:
            yield plain
    elif magic == _ZSTD:
        with _zstd(packed) as plain:
            yield plain
    else:
        yield packed


@contextmanager
def _zstd(packed: io.BufferedReader) -> Iterator[IO[bytes]]:
    """Zstandard by its own program, until Python 3.14 brings a module; it limits its memory."""
    program = shutil.which("zstd")
    if program is None:
        raise BaseNotFoundError(
            "The image has Zstandard layers; run `apt-get install zstd` on the worker to read them."
        )
    process = subprocess.Popen(
        [program, "--decompress", "--stdout", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin and process.stdout
    failures: list[Exception] = []
    feeder = threading.Thread(target=_feed, args=(packed, process.stdin, failures), daemon=True)
    feeder.start()
    finished = False
    try:
        yield process.stdout
        finished = not process.stdout.read(1)
    finally:
        if not finished:
            process.kill()
        feeder.join()
        process.stdout.close()
        code = process.wait()
    if failures:
        raise failures[0]
    if finished and code:
        raise EOFError("its Zstandard stream is broken off")


def _feed(packed: io.BufferedReader, stdin: IO[bytes], failures: list[Exception]) -> None:
    try:
        with stdin:
            shutil.copyfileobj(packed, stdin, _BUFFER_BYTES)
    except BrokenPipeError:
        pass
    except Exception as error:  # noqa: BLE001 - raised again by the thread that reads
        failures.append(error)
