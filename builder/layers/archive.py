"""A layer file as it is written: a gzip tar, hashed in both forms on the way."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

import isal.isal_zlib as inflate

from builder.layers import gz, records, tar, wheel

UID, GID = 1000, 100
"""The notebook user (jovyan, users), so that `pip install` on top works in a container."""

_FLUSH_BYTES = 1 << 20
_GATHER_BYTES = 256 << 10
"""Hashed and written at once: each call that gives up Python's lock costs threads that wait for it
a turn, and a wheel of small files would make three of them a file."""
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Written:
    """A finished layer file: its two digests, and where in the file the body begins and ends."""

    digest: str
    diff_id: str
    size_bytes: int
    plain_bytes: int
    body_start: int
    body_end: int
    files: Sequence[str] = ()
    """What the body holds, in its order."""
    folders: Sequence[str] = ()
    """Where its files lie, parents first; they follow the body, which has none of them."""


class LayerWriter:
    """A gzip tar written to `out`, hashed in both forms on the way.

    What is made here is gathered and compressed a megabyte at a time; copied streams go out as they
    are. The order of calls alone decides the bytes, and `finish` writes the last of them.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._pending = bytearray()
        self._packed = _Gathered(self._write)
        self._plain = _Gathered(self._digest)
        self._packed_hash = hashlib.sha256()
        self._plain_hash = hashlib.sha256()
        self._marks: list[int] = []
        self._files: list[str] = []

    def folder(self, path: str, *, uid: int = UID, gid: int = GID, mode: int = 0o755) -> None:
        """A folder, `path` relative to the root and without a slash at either end."""
        self._header(path + "/", tarfile.DIRTYPE, 0, mode, uid=uid, gid=gid)

    def link(self, path: str, target: str, *, uid: int = UID, gid: int = GID) -> None:
        """A symbolic link."""
        self._header(path, tarfile.SYMTYPE, 0, 0o777, uid=uid, gid=gid, target=target)

    def file(
        self, path: str, data: bytes, mode: int = 0o644, *, uid: int = UID, gid: int = GID
    ) -> None:
        """A file whose content is at hand."""
        self.stream(path, io.BytesIO(data), len(data), mode, uid=uid, gid=gid)

    def stream(
        self, path: str, data: IO[bytes], size: int, mode: int, *, uid: int = UID, gid: int = GID
    ) -> None:
        """A file whose content, of that size, is read from `data`."""
        self._header(path, tarfile.REGTYPE, size, mode, uid=uid, gid=gid)
        while chunk := data.read(_FLUSH_BYTES):
            self._add(chunk)
        self._pad(size)

    def copy(self, path: str, mode: int, file: BinaryIO, entry: wheel.Entry, name: str) -> str:
        """An entry of a wheel under another path; returns its RECORD hash.

        Raises BadWheelError if the entry does not inflate to the size and CRC-32 it claims.
        """
        self._header(path, tarfile.REGTYPE, entry.size_bytes, mode)
        digest = hashlib.sha256()
        if entry.stored:
            for plain in wheel.contents(file, entry, name):
                digest.update(plain)
                self._add(plain)
        elif entry.size_bytes or entry.packed_bytes:
            self._flush()
            self._packed.add(gz.HEADER)
            for packed, plain in wheel.packed_and_plain(file, entry, name):
                self._packed.add(packed)
                digest.update(plain)
                self._plain.add(plain)
            self._packed.add(gz.trailer(entry.crc32, entry.size_bytes))
        self._pad(entry.size_bytes)
        return "sha256=" + records.encode_digest(digest.digest())

    def body(self, members: Iterable[bytes]) -> None:
        """The body of another layer, already compressed, in chunks of any size."""
        self._flush()
        inflater = inflate.decompressobj(31)
        for chunk in members:
            self._packed.add(chunk)
            rest = chunk
            while rest:
                self._plain.add(inflater.decompress(rest, _FLUSH_BYTES))
                rest = inflater.unconsumed_tail
                if inflater.eof:
                    rest = inflater.unused_data
                    inflater = inflate.decompressobj(31)

    def mark(self) -> None:
        """Note a border between start, body and end."""
        self._flush()
        self._marks.append(self._packed.total)

    def finish(self, folders: Iterable[str] = ()) -> Written:
        """Write the folders and the archive's end; needs two marks before.

        Folders come last, since only then are those of several wheels known: Docker Engine refuses
        a layer in which a path is twice, be it a folder.
        """
        own = sorted(folders)
        for folder in own:
            self.folder(folder)
        self._add(bytes(2 * _BLOCK))
        self._flush()
        self._packed.flush()
        self._plain.flush()
        start, end = self._marks
        return Written(
            digest=f"sha256:{self._packed_hash.hexdigest()}",
            diff_id=f"sha256:{self._plain_hash.hexdigest()}",
            size_bytes=self._packed.total,
            plain_bytes=self._plain.total,
            body_start=start,
            body_end=end,
            files=tuple(self._files),
            folders=tuple(own),
        )

    def _header(
        self,
        path: str,
        kind: bytes,
        size: int,
        mode: int,
        *,
        uid: int = UID,
        gid: int = GID,
        target: str = "",
    ) -> None:
        if kind == tarfile.REGTYPE:
            self._files.append(path)
        self._add(tar.header(path, kind, size, mode, uid=uid, gid=gid, target=target))

    def _add(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _FLUSH_BYTES:
            self._flush()

    def _pad(self, size: int) -> None:
        self._add(bytes(-size % _BLOCK))

    def _flush(self) -> None:
        """Compress what was gathered."""
        if self._pending:
            pending, self._pending = bytes(self._pending), bytearray()
            self._plain.add(pending)
            self._packed.add(gz.member(pending))

    def _digest(self, data: bytes) -> None:
        self._plain_hash.update(data)

    def _write(self, data: bytes) -> None:
        self._packed_hash.update(data)
        self._out.write(data)


class _Gathered:
    """Passes on small pieces together, and large ones at once; `total` bytes so far."""

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self._pass_on = pass_on
        self._pieces: list[bytes] = []
        self._held = 0
        self.total = 0

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        self.total += len(piece)
        if self._held >= _GATHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass on what is held: a large piece by itself, so that it isn't copied."""
        pieces, self._pieces, self._held = self._pieces, [], 0
        if pieces and len(pieces[-1]) >= _GATHER_BYTES // 2:
            large = pieces.pop()
            if pieces:
                self._pass_on(b"".join(pieces))
            self._pass_on(large)
        elif pieces:
            self._pass_on(b"".join(pieces))
