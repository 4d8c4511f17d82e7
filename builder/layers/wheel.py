"""A wheel as a table of entries, checked before anything is made of it.

A wheel is a zip (APPNOTE 6.3) whose central directory says where each entry is. The table is
trusted only after it has been checked against the local headers, the file's own bounds and the
limits below; contents are checked (CRC-32, size, RECORD hash) while they are copied.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import deflate
import isal.isal_zlib as inflate
from zlib_ng import zlib_ng

from builder.errors import BadWheelError
from builder.layers import central, gz

MAX_ENTRIES = central.MAX_ENTRIES
MAX_INSTALLED_BYTES = 8 << 30
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
MAX_METADATA_BYTES = 32 << 20
CHUNK_BYTES = 256 << 10
WHOLE_BYTES = 1 << 20
"""Entries up to this size, packed and plain, are inflated at once, by every core at a time."""

_READ_BYTES = 128 << 10
"""Read at once: entries lie one after the other, and most are a few kilobytes."""
_LOCAL_HEADER = struct.Struct("<IHHHHHIIIHH")
_LOCAL_MAGIC = 0x04034B50
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_STREAMED = 0x8
_WHITEOUT = ".wh."
"""A file so named means to an engine that another one is removed (OCI image-spec, layers)."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
# Nearly every name: short ASCII parts that don't begin with a dot need no closer look.
_PLAIN = re.compile(r"(?:[\w+-][\w.+-]{0,99}/){0,9}[\w+-][\w.+-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a wheel: where its bytes are in the archive, and what they must inflate to."""

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    crc32: int
    stored: bool
    executable: bool
    directory: bool


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk; `entries` are in archive order with the last of a duplicate name kept."""

    path: Path
    entries: tuple[Entry, ...]
    dist_info: str

    @property
    def data_dir(self) -> str:
        """The prefix of relocated files, such as `numpy-2.4.6.data/`."""
        return self.dist_info.removesuffix(".dist-info") + ".data/"

    def entry(self, name: str) -> Entry | None:
        """The entry of that exact name, or None."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def read(self, file: BinaryIO, name: str) -> bytes | None:
        """A small metadata file, checked, or None if the wheel has none of that name."""
        entry = self.entry(name)
        if entry is None:
            return None
        if entry.size_bytes > MAX_METADATA_BYTES:
            raise BadWheelError(f"{self.path.name}: {name} is too large to be metadata.")
        return b"".join(contents(file, entry, self.path.name))


def opened(path: Path) -> BinaryIO:
    """The wheel's file, to be read mostly forwards."""
    return path.open("rb", buffering=_READ_BYTES)


def read(path: Path) -> Wheel:
    """The checked table of the wheel at `path`; raises BadWheelError naming file and fault."""
    with opened(path) as file:
        try:
            found, end = central.read(file)
        except central.BadZipError as error:
            raise BadWheelError(f"{path.name} is not a readable zip file: {error}.") from error
        entries = [_entry(path.name, file, record, end) for record in found]
    _check_layout(path.name, entries, found)
    latest = {entry.name: entry for entry in entries}
    return Wheel(path, tuple(latest.values()), _dist_info(path, latest))


def is_safe(name: str) -> bool:
    """Whether a path stays where it is put, can be unpacked, and means only itself in a layer."""
    if _PLAIN.fullmatch(name):
        return True
    parts = name.split("/")
    return (
        not _UNSAFE.search(name)
        and len(name.encode("utf-8", "surrogatepass")) <= MAX_NAME_BYTES
        and not any(part in ("", ".", "..") for part in parts)
        and not any(part.startswith(_WHITEOUT) for part in parts)
        and all(len(part.encode("utf-8", "surrogatepass")) <= MAX_PART_BYTES for part in parts)
    )


def _entry(wheel_name: str, file: BinaryIO, record: central.Record, end: int) -> Entry:
    name = record.name
    if not is_safe(name.removesuffix("/")):
        raise BadWheelError(f"{wheel_name}: the entry name {name[:200]!r} is not allowed.")
    if record.flags & _ENCRYPTED or record.method not in (_STORED, _DEFLATED):
        raise BadWheelError(f"{wheel_name}: {name!r} is encrypted or in an unknown compression.")
    if stat.S_IFMT(record.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadWheelError(f"{wheel_name}: {name!r} is a link or a device, not a file.")
    stored, directory = record.method == _STORED, name.endswith("/")
    if stored and record.packed_bytes != record.size_bytes:
        raise BadWheelError(f"{wheel_name}: {name!r} is stored but its two sizes differ.")
    if directory and record.size_bytes:
        raise BadWheelError(f"{wheel_name}: {name!r} is a folder with content.")
    offset = _content_offset(wheel_name, file, record, end)
    if offset + record.packed_bytes > end:
        raise BadWheelError(f"{wheel_name}: {name!r} reaches over the end of the contents.")
    return Entry(
        name=name,
        offset=offset,
        packed_bytes=record.packed_bytes,
        size_bytes=record.size_bytes,
        crc32=record.crc32,
        stored=stored,
        executable=record.system == central.UNIX and bool(record.mode & 0o111) and not directory,
        directory=directory,
    )


def _content_offset(wheel_name: str, file: BinaryIO, record: central.Record, end: int) -> int:
    """Where the entry's bytes begin, after a local header that agrees with the directory."""
    at = record.header_offset
    if at + _LOCAL_HEADER.size > end:
        raise BadWheelError(f"{wheel_name}: {record.name!r} is not where the directory says.")
    file.seek(at)
    magic, _, flags, method, _, _, crc32, packed, size, name_bytes, extra_bytes = (
        _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    )
    if magic != _LOCAL_MAGIC or method != record.method or (flags ^ record.flags) & _ENCRYPTED:
        raise BadWheelError(f"{wheel_name}: {record.name!r} is not where the directory says.")
    if file.read(name_bytes) != record.raw_name:
        raise BadWheelError(f"{wheel_name}: {record.name!r} has another name in its own header.")
    told = ((crc32, record.crc32), (packed, record.packed_bytes), (size, record.size_bytes))
    if not flags & _STREAMED and any(local not in (truth, 0xFFFFFFFF) for local, truth in told):
        raise BadWheelError(f"{wheel_name}: {record.name!r} has other sizes in its own header.")
    return at + _LOCAL_HEADER.size + int(name_bytes) + int(extra_bytes)


def _check_layout(wheel_name: str, entries: list[Entry], found: list[central.Record]) -> None:
    """No two entries may share bytes, the sum has a limit, and a file is no folder."""
    end = 0
    for record, entry in sorted(zip(found, entries, strict=True), key=lambda e: e[1].offset):
        if record.header_offset < end:
            raise BadWheelError(f"{wheel_name}: {entry.name!r} overlaps another entry.")
        end = entry.offset + entry.packed_bytes
    if sum(entry.size_bytes for entry in entries) > MAX_INSTALLED_BYTES:
        raise BadWheelError(f"{wheel_name} would unpack to more than the limit of 8 GiB.")


def _dist_info(path: Path, entries: dict[str, Entry]) -> str:
    tops = {name.partition("/")[0] for name in entries}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        raise BadWheelError(
            f"{path.name} has {len(found)} .dist-info folders, where one is needed."
        )
    return found[0]


def contents(file: BinaryIO, entry: Entry, wheel_name: str) -> Iterator[bytes]:
    """What the entry inflates to, in chunks; raises BadWheelError unless size and CRC-32 hold."""
    for _, data in packed_and_plain(file, entry, wheel_name):
        if data:
            yield data


def packed_and_plain(
    file: BinaryIO, entry: Entry, wheel_name: str
) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of archived bytes and what they inflate to, for an entry's whole length.

    Memory is bounded whatever the entry claims: what inflates to more than its size is refused at
    the first byte over. For a stored entry both are the same bytes. A stream is accepted only if
    zlib-ng, as strict as zlib, or libdeflate accepts it; isal, as fast, lets Huffman codes pass
    that unpackers refuse.
    """
    file.seek(entry.offset)
    if not entry.stored and 0 < entry.size_bytes <= WHOLE_BYTES >= entry.packed_bytes:
        yield _whole(file, entry, wheel_name)
        return
    left, size, crc = entry.packed_bytes, 0, 0
    stream = None if entry.stored else zlib_ng.decompressobj(-15)
    while left:
        packed = file.read(min(left, CHUNK_BYTES))
        if not packed:
            raise BadWheelError(f"{wheel_name}: {entry.name!r} ends early.")
        left -= len(packed)
        if stream is None:
            pieces: Iterator[bytes] = iter((packed,))
        else:
            pieces = _inflated(stream, packed, entry, wheel_name)
        for plain in pieces:
            size += len(plain)
            if size > entry.size_bytes:
                raise BadWheelError(f"{wheel_name}: {entry.name!r} inflates to more than it says.")
            crc = inflate.crc32(plain, crc)
            yield packed, plain
            packed = b""
        if packed:
            yield packed, b""
        if stream is not None and stream.eof and left:
            raise BadWheelError(f"{wheel_name}: {entry.name!r} has bytes after its end.")
    complete = stream is None or stream.eof
    if not complete or size != entry.size_bytes or crc != entry.crc32:
        raise _damaged(wheel_name, entry)


def _whole(file: BinaryIO, entry: Entry, wheel_name: str) -> tuple[bytes, bytes]:
    """A small entry at once: libdeflate checks the very member that will be written, to its end."""
    packed = file.read(entry.packed_bytes)
    member = b"".join((gz.HEADER, packed, gz.trailer(entry.crc32, entry.size_bytes)))
    try:
        plain = bytes(deflate.gzip_decompress(member))
    except deflate.DeflateError as error:
        raise _damaged(wheel_name, entry) from error
    if len(plain) != entry.size_bytes or len(packed) != entry.packed_bytes:
        raise _damaged(wheel_name, entry)
    return packed, plain


def _damaged(wheel_name: str, entry: Entry) -> BadWheelError:
    return BadWheelError(f"{wheel_name}: {entry.name!r} is damaged (size or CRC-32 is wrong).")


def _inflated(
    stream: zlib_ng._Decompress, packed: bytes, entry: Entry, wheel_name: str
) -> Iterator[bytes]:
    limit = 4 * CHUNK_BYTES
    try:
        while not stream.eof:
            plain = stream.decompress(packed, limit)
            packed = stream.unconsumed_tail
            yield plain
            if not packed and len(plain) < limit:
                break
        if stream.eof and (packed or stream.unused_data):
            raise BadWheelError(f"{wheel_name}: {entry.name!r} has bytes after its end.")
    except zlib_ng.error as error:  # type: ignore[misc]  # its stub says object
        raise BadWheelError(f"{wheel_name}: {entry.name!r} does not inflate: {error}.") from error
