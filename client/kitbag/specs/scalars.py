"""The fast reader's scalars and the way from one token to the next."""

from __future__ import annotations

import re
from functools import lru_cache

from . import decode
from .compose import too_many
from .nodes import Alias, Keep, Node, Real, Scalar, real
from .source import MAX_DEPTH, MAX_NODES, Source
from .tokens import (
    ALIAS,
    COMMENT,
    END,
    FIRST,
    GAP,
    HEADER,
    INNER_COLON,
    LINE,
    MARKER,
    MARKER_INSIDE,
    Unsure,
    quoted_end,
)


@lru_cache(maxsize=MAX_DEPTH)
def _dedent(indent: int) -> re.Pattern[str]:
    """Finds the first line that is indented by less, blank lines apart."""
    return re.compile(rf"^[ ]{{0,{indent - 1}}}[^ \r\n]", re.MULTILINE)


class ScalarScanner:
    """Methods take a position; the column they return is that of the next token, or -1 at the end
    of a document. `indent` is that of the collection around."""

    def __init__(self, source: Source, keep: Keep | None) -> None:
        self.source = source
        self.keep = keep
        self.owner: str | None = ""
        self.text = source.text
        self.size = len(source.text)
        self.anchors: dict[str, Real] = {}
        self.count = 0
        self.at = 0

    def kept(self) -> frozenset[str] | None:
        """The keys to keep of the mapping that begins here; None means all of them."""
        return None if self.keep is None or self.owner in self.keep.parents else self.keep.words

    def alias(self, position: int) -> Alias:
        match = ALIAS.match(self.text, position)
        target = match and self.anchors.get(match[1])
        if not match or target is None:
            raise Unsure
        return Alias(position, match.end(), real(target))

    def quoted(self, position: int) -> Scalar:
        quote = self.text[position]
        end = quoted_end(self.text, position)
        if end is None:
            raise Unsure
        inner = self.text[position + 1 : end - 1]
        if "\n" in inner and MARKER_INSIDE.search(inner):
            raise Unsure
        if len(inner) > decode.MAX_CHARS:
            return Scalar(position, end, quote, None)
        said = decode.double_quoted(inner) if quote == '"' else decode.single_quoted(inner)
        return Scalar(position, end, quote, said)

    def next(self, position: int) -> tuple[int, int]:
        """From the start of a line, over blank lines and comments, to the next token."""
        text = self.text
        match = GAP.match(text, position)
        end = match.end() if match else position
        while end < self.size and text[end] in "#\r\n":
            match = GAP.match(text, end)
            if match is None or match.end() == end:
                break
            end = match.end()
        self.at = end
        if end >= self.size:
            return self.size, -1
        column = end - text.rfind("\n", 0, end) - 1
        char = text[end]
        if char == "\t":
            raise Unsure
        if column == 0 and char in "-." and MARKER.match(text, end):
            return end, -1
        return end, column

    def line_end(self, position: int) -> tuple[int, int]:
        """After a token: only a comment may follow on its line."""
        match = END.match(self.text, position)
        if not match:
            raise Unsure
        return self.next(match.end())

    def plain(self, position: int, indent: int) -> tuple[Node, int, int]:
        """A plain scalar, with the lines that continue it."""
        text = self.text
        char = text[position]
        if char in ",]}%@`#" or (
            char in "-?:" and text[position + 1 : position + 2] in ("", " ", "\t", "\r", "\n")
        ):
            raise Unsure
        start, lines = position, 0
        while True:
            match = LINE.match(text, position)
            line = match[0] if match else ""
            line_end = position + len(line)
            commented = False
            if "#" in line:
                comment = COMMENT.search(line)
                if comment:
                    line = line[: comment.start()]
                    commented = True
            if ":" in line and INNER_COLON.search(line):
                raise Unsure
            line = line.rstrip(" \t")
            end = position + len(line)
            after, found = self.next(line_end)
            lines += 1
            if found <= indent:
                if lines > 1:
                    too_long = end - start > decode.MAX_CHARS
                    line = "" if too_long else decode.plain(text[start:end])
                    return Scalar(start, end, "", None if too_long else line), after, found
                return Scalar(start, end, "", line), after, found
            if commented or "#" in text[line_end:after]:
                raise Unsure
            position = after

    def literal(self, position: int, indent: int) -> tuple[Node, int, int]:
        """A block scalar, literal or folded."""
        text = self.text
        header = HEADER.match(text, position)
        if not header:
            raise Unsure
        begin = header.end()
        digit = header[1] or header[2]
        first = FIRST.search(text, begin)
        if digit:
            if indent < 0:
                raise Unsure
            content = indent + int(digit)
        elif first:
            line = text.rfind("\n", begin, first.start()) + 1 or begin
            content = first.start() - line
            # Only blanks are before that line, and none of these may be longer than its own.
            if content > indent and text.find(" " * (content + 1), begin, line) >= 0:
                raise Unsure
        else:
            content = indent + 1
        if content <= indent:
            content = indent + 1
        if content == 0:
            raise Unsure
        stop = _dedent(content).search(text, begin)
        end = stop.start() if stop else self.size
        after, found = self.next(end)
        said = None
        if end - begin <= decode.MAX_CHARS:
            said = decode.block(text[position:begin], text[begin:end], content)
        return Scalar(position, end, text[position], said), after, found

    def counted(self, more: int) -> None:
        self.count += more
        if self.count > MAX_NODES:
            raise too_many(self.source)
