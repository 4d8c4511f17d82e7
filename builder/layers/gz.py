"""Gzip members (RFC 1952) written so that the same input gives the same bytes on every machine.

A gzip stream may be several members back to back, and inflating it gives their contents back to
back. Deflate streams copied from a wheel become members as they are. What Kitbag adds itself is
compressed by libdeflate, whose output does not depend on the processor; a test holds its output for
one input fixed, so that a release that compresses differently is noticed.
"""

from __future__ import annotations

import struct
import zlib

import deflate

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Magic, deflate, no flags, no time, no extra flags, unknown operating system."""

LEVEL = 6


def trailer(crc32: int, size_bytes: int) -> bytes:
    """The end of a member: CRC-32 and size modulo 2^32 of what it inflates to."""
    return struct.pack("<II", crc32, size_bytes & 0xFFFFFFFF)


def member(data: bytes | bytearray) -> bytes:
    """One whole member that inflates to `data`."""
    packed: bytes | bytearray = deflate.deflate_compress(data, LEVEL)
    return b"".join((HEADER, packed, trailer(zlib.crc32(data), len(data))))
