"""A file as text whose positions lead back to its bytes."""

from __future__ import annotations

import codecs
import re
from array import array
from bisect import bisect_left

from .errors import EncodingError, TooBigError

MAX_BYTES = 50 * 1024 * 1024
MAX_NODES = 3_000_000
MAX_DEPTH = 100

_OTHER_UNICODE = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


class Source:
    """Decoded text of one file; the byte order mark is set aside and comes back on writing.

    Raises TooBigError over 50 MB and EncodingError for anything but UTF-8.
    """

    def __init__(self, data: bytes, filename: str = "-") -> None:
        self.data = data
        self.filename = filename
        self._line_ends: array[int] | None = None
        if len(data) > MAX_BYTES:
            raise TooBigError(
                filename,
                0,
                f"the file has {len(data):,} bytes and the limit is {MAX_BYTES:,};"
                " split it into smaller files",
            )
        for bom, name in _OTHER_UNICODE.items():
            if data.startswith(bom):
                raise EncodingError(filename, 1, f"the file is {name}; save it as UTF-8")
        self.bom = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
        try:
            self.text = data[len(self.bom) :].decode("utf-8")
        except UnicodeDecodeError as error:
            start = error.start + len(self.bom)
            raise EncodingError(
                filename,
                data.count(b"\n", 0, start) + 1,
                f"byte 0x{data[start]:02x} is not UTF-8; save the file as UTF-8",
            ) from None

    def line(self, position: int) -> int:
        """The 1-based line of a character offset."""
        if self._line_ends is None:
            self._line_ends = array("L", (match.start() for match in re.finditer("\n", self.text)))
        return bisect_left(self._line_ends, position) + 1

    def outermost(self, edit: tuple[int, int, str]) -> tuple[int, int, str]:
        """An edit of this text as one of the file's text, which here is the same."""
        return edit

    def splice(self, edits: list[tuple[int, int, str]]) -> bytes:
        """The file's bytes with every (start, end, new text) put in; the rest is copied.

        The edits must not overlap; those at the same place keep their order.
        """
        pieces = [self.bom]
        done = 0
        for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
            pieces += (self.text[done:start].encode(), new.encode())
            done = end
        pieces.append(self.text[done:].encode())
        return b"".join(pieces)
