"""A manifest inside a string: its text, and the way back from there to the bytes of the file."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import decode
from .errors import WriteError
from .nodes import Mapping, Scalar
from .source import Source
from .write import Edit, newline

_HEADER = re.compile(r"[|>]([1-9]?)[+-]?([1-9]?)")
_BLANK = re.compile(r"[ \t]*\r?")


class _Piece(NamedTuple):
    """A stretch of the file, [start, end), and what it says; a copy when it says itself."""

    start: int
    end: int
    said: str
    copied: bool


class Embedded(Source):
    """The text of a scalar as a source of its own, whose lines and edits are those of the file.

    `holder` is the mapping that the scalar is a value of. An image written in it keeps every byte
    around it, escapes and folds included.
    """

    def __init__(self, outer: Source, scalar: Scalar, holder: Mapping) -> None:
        self.outer = outer
        self.filename = outer.filename
        self.style = scalar.style
        self.indent = 0
        self.inside = (scalar.start, scalar.end)
        if scalar.style in ("|", ">"):
            header = outer.text.index("\n", scalar.start, scalar.end) + 1
            self.indent = _indent(outer.text, scalar, header, holder)
            self.inside = (header, scalar.end)
        elif scalar.style:
            self.inside = (scalar.start + 1, scalar.end - 1)
        self._pieces = [piece for piece in self._read() if piece.said or piece.end > piece.start]
        self._starts: list[int] = []
        length = 0
        for piece in self._pieces:
            self._starts.append(length)
            length += len(piece.said)
        self.text = "".join(piece.said for piece in self._pieces)
        self.bom = b""

    def line(self, position: int) -> int:
        """The line of the file that a position of the text is on."""
        return self.outer.line(self._start(position))

    def outermost(self, edit: Edit) -> Edit:
        """The same edit in the text of the file; WriteError where that can't be written there."""
        start, end, new = edit
        for position in (start, end):
            number = bisect_right(self._starts, position) - 1
            ahead = position - self._starts[number] if number >= 0 else 0
            piece = self._pieces[max(number, 0)] if self._pieces else None
            if piece and not piece.copied and 0 < ahead < len(piece.said):
                raise self._impossible(position)
        edit = (self._start(start), self._end(start, end), self._encoded(start, new))
        return self.outer.outermost(edit)

    def _read(self) -> Iterator[_Piece]:
        text = self.outer.text
        start, end = self.inside
        if self.style == '"':
            found = decode.ESCAPES.finditer(text, start, end)
            yield from _between(text, start, end, found, decode.escaped)
        elif self.style == "'":
            found = decode.SINGLE.finditer(text, start, end)
            yield from _between(text, start, end, found, decode.unquoted)
        elif self.style == "":
            found = decode.LINES.finditer(text, start, end)
            yield from _between(text, start, end, found, decode.folded)
        else:
            yield from self._lines(folds=self.style == ">")

    def _lines(self, *, folds: bool) -> Iterator[_Piece]:
        """The lines of a block scalar without their indentation."""
        text = self.outer.text
        position, stop = self.inside
        before: tuple[int, str] | None = None
        breaks = 0
        while position < stop:
            end = text.find("\n", position, stop)
            after = stop if end < 0 else end + 1
            end = stop if end < 0 else end
            end -= text.endswith("\r", position, end)
            start = min(position + self.indent, end)
            line = text[start:end]
            if text[position:start].strip(" "):
                return
            blank = start == end or (_BLANK.fullmatch(line) and end - position < self.indent)
            if not blank:
                if before is not None:
                    # https://yaml.org/spec/1.2.2/#813-folded-style: lines that are indented
                    # further, and their neighbours, keep their line ends.
                    keeps = not folds or before[1] in (" ", "\t") or line[:1] in (" ", "\t")
                    said = "\n" * breaks if keeps else "\n" * (breaks - 1) or " "
                    yield _Piece(before[0], start, said, copied=False)
                elif breaks:
                    yield _Piece(self.inside[0], start, "\n" * breaks, copied=False)
                else:
                    yield _Piece(position, start, "", copied=False)
                yield _Piece(start, end, line, copied=True)
                before, breaks = (end, line[:1]), 0
            breaks += after > end
            position = after
        if before is not None and breaks:
            yield _Piece(before[0], stop, "\n" * breaks, copied=False)

    def _start(self, position: int) -> int:
        """Where in the file a position of the text is."""
        number = bisect_right(self._starts, position) - 1
        if number < 0:
            return self.inside[0]
        piece = self._pieces[number]
        ahead = position - self._starts[number]
        if piece.copied:
            return piece.start + ahead
        return piece.end if ahead >= len(piece.said) else piece.start

    def _end(self, start: int, end: int) -> int:
        """Where in the file the text before a position ends."""
        if start == end:
            return self._start(start)
        number = bisect_right(self._starts, end - 1) - 1
        piece = self._pieces[number]
        return piece.start + end - self._starts[number] if piece.copied else piece.end

    def _encoded(self, position: int, new: str) -> str:
        """A new text as it is written in a scalar of this style."""
        if self.style == '"':
            escaped = new.replace("\\", "\\\\").replace('"', '\\"')
            return escaped.replace("\n", "\\n")
        if self.style == "|":
            return new.replace("\n", newline(self.outer) + " " * self.indent)
        if "\n" in new or (self.style == "" and (": " in new or " #" in new)):
            raise self._impossible(position)
        return new.replace("'", "''") if self.style == "'" else new

    def _impossible(self, position: int) -> WriteError:
        return WriteError(
            self.filename,
            self.line(position),
            "nothing can be added inside this text, whose lines are folded; write it as a literal"
            " block (|)",
        )


def _between(
    text: str,
    start: int,
    end: int,
    found: Iterator[re.Match[str]],
    said: Callable[[re.Match[str]], str],
) -> Iterator[_Piece]:
    """What is written as itself, and between it what is not."""
    for match in found:
        yield _Piece(start, match.start(), text[start : match.start()], copied=True)
        yield _Piece(match.start(), match.end(), said(match), copied=False)
        start = match.end()
    yield _Piece(start, end, text[start:end], copied=True)


def _indent(text: str, scalar: Scalar, header: int, holder: Mapping) -> int:
    """How far the lines of a block scalar are indented: as its header says, or its first line."""
    match = _HEADER.match(text, scalar.start)
    digit = match and (match[1] or match[2])
    if digit:
        first = holder.pairs[0][0].start
        return first - (text.rfind("\n", 0, first) + 1) + int(digit)
    position = header
    while position < scalar.end:
        end = text.find("\n", position, scalar.end)
        line = text[position : scalar.end if end < 0 else end]
        if line.strip():
            return len(line) - len(line.lstrip(" "))
        if end < 0:
            break
        position = end + 1
    return 0
