"""The central directory of a zip file (APPNOTE 6.3): read with limits, believed only in part.

Stricter than `zipfile`, since nothing but a wheel is expected: the directory must end where the end
record begins, hold exactly the entries that it announces, and be small before it is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAX_ENTRIES = 100_000
MAX_DIRECTORY_BYTES = 64 << 20

_END = struct.Struct("<4s4HIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_RECORD = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_MAX_COMMENT_BYTES = 0xFFFF
_MAX32 = 0xFFFFFFFF
_ZIP64_FIELD = 1
_UTF8 = 0x800
UNIX = 3


class BadZipError(ValueError):
    """The file is no zip, or one that nobody means well with."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the directory says of one entry; `raw_name` as it is in the file."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    header_offset: int
    system: int
    mode: int


@dataclass(frozen=True, slots=True)
class _Directory:
    offset: int
    size_bytes: int
    count: int


def read(file: BinaryIO) -> tuple[list[Record], int]:
    """All records in the directory's order, and the offset where the directory begins.

    Raises BadZipError.
    """
    directory = _find(file)
    file.seek(directory.offset)
    data = file.read(directory.size_bytes)
    return list(_records(data, directory.count)), directory.offset


def _find(file: BinaryIO) -> _Directory:
    file_bytes = file.seek(0, os.SEEK_END)
    tail_bytes = min(file_bytes, _END.size + _MAX_COMMENT_BYTES)
    file.seek(file_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    at = len(tail)
    while (at := tail.rfind(b"PK\x05\x06", 0, at)) >= 0:
        if at + _END.size <= len(tail):
            _, disk, first_disk, _, count, size, offset, comment = _END.unpack_from(tail, at)
            if at + _END.size + comment == len(tail):
                break
    else:
        raise BadZipError("it has no end-of-directory record")
    end = file_bytes - tail_bytes + at
    located = end - _LOCATOR64.size
    if located >= 0:
        file.seek(located)
        magic, _, end64, _ = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
        if magic == b"PK\x06\x07":
            if end64 + _END64.size > located:
                raise BadZipError("its zip64 record lies outside")
            file.seek(end64)
            fields = _END64.unpack(file.read(_END64.size))
            if fields[0] != b"PK\x06\x06":
                raise BadZipError("its zip64 record is not where the locator says")
            disk, first_disk, _, count, size, offset = fields[4:]
            end = end64
    if disk or first_disk:
        raise BadZipError("it is a part of a split archive")
    if count > MAX_ENTRIES:
        raise BadZipError(f"it has {count:,} entries, and {MAX_ENTRIES:,} are allowed")
    if size > MAX_DIRECTORY_BYTES:
        raise BadZipError("its directory is over the limit of 64 MiB")
    if offset + size != end:
        raise BadZipError("its directory is not where the end record says")
    return _Directory(offset, size, count)


def _records(data: bytes, count: int) -> Iterator[Record]:
    at = 0
    for _ in range(count):
        if at + _RECORD.size > len(data):
            raise BadZipError("its directory ends early")
        (
            magic,
            _,
            system,
            _,
            flags,
            method,
            _,
            _,
            crc32,
            packed,
            size,
            name_bytes,
            extra_bytes,
            comment_bytes,
            disk,
            _,
            attributes,
            offset,
        ) = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if magic != b"PK\x01\x02" or disk:
            raise BadZipError("its directory is damaged")
        raw_name = data[at : at + name_bytes]
        extra = data[at + name_bytes : at + name_bytes + extra_bytes]
        at += name_bytes + extra_bytes + comment_bytes
        if at > len(data):
            raise BadZipError("its directory ends early")
        if _MAX32 in (size, packed, offset):
            size, packed, offset = _wide(extra, size, packed, offset)
        try:
            name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437")
        except UnicodeDecodeError as error:
            raise BadZipError("a name in it is not UTF-8") from error
        yield Record(
            name, raw_name, flags, method, crc32, packed, size, offset, system, attributes >> 16
        )
    if at != len(data):
        raise BadZipError("its directory holds more than it announces")


def _wide(extra: bytes, *fields: int) -> list[int]:
    """The fields, those that are all ones replaced by the zip64 extra field's, in their order."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64_FIELD:
            content = extra[at + 4 :][: size & ~7]
            wanted = sum(field == _MAX32 for field in fields)
            if len(content) < 8 * wanted or at + 4 + size > len(extra):
                break
            values = [value for (value,) in struct.iter_unpack("<Q", content)]
            wide = iter(values)
            return [next(wide) if field == _MAX32 else field for field in fields]
        at += 4 + size
    raise BadZipError("a zip64 field in it is missing")
