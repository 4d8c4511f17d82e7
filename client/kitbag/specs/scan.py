"""The fast reader: the YAML that tools and people write, read with regular expressions.

It either returns what the exact reader (`compose`) would, or raises Unsure; it never guesses. What
it leaves to the exact reader: complex keys, directives, anchors on keys, tabs as indentation, line
breaks other than LF and CRLF, plain scalars over several lines in flow collections.
"""

from __future__ import annotations

import re

from .compose import duplicate, too_deep
from .errors import InvalidYamlError
from .flow import FlowScanner, dropped
from .nodes import Alias, Keep, Mapping, Node, Scalar, Sequence
from .source import MAX_DEPTH, Source
from .tokens import (
    AFTER_DASH,
    ANY_KEY,
    COLON,
    COMMENT,
    KEY,
    LONG_TAG,
    ODD,
    PAIR,
    PROPERTY,
    SPACES,
    Unsure,
    quoted_end,
)


def scan(source: Source, keep: Keep | None = None) -> list[Node]:
    """The root of every document. Raises Unsure, or the same errors as the exact reader.

    With `keep`, pairs that it does not name are read and dropped, which saves most of the memory;
    the caller says so only for a text whose every value is reached by keys, so not for aliases.
    """
    if ODD.search(source.text):
        raise Unsure
    scanner = _Scanner(source, keep)
    try:
        return scanner.documents()
    except Unsure as unsure:
        unsure.position = scanner.at
        raise


class _Scanner(FlowScanner):
    """Methods take a position and return a node, the position of the next token and its column.

    The column is -1 at the end of a document. `indent` is that of the collection around.
    """

    def documents(self) -> list[Node]:
        roots: list[Node] = []
        position, column = self.next(0)
        is_open = False
        while True:
            if column >= 0:  # a document that starts without a marker
                if self.text[position] == "%":
                    raise Unsure
                self.anchors, self.owner = {}, ""
                node, position, column = self.block(position, column, -1, 0)
                roots.append(node)
                is_open = True
                if column >= 0:
                    raise Unsure
            if position >= self.size:
                return roots
            if self.text[position] == ".":
                if not is_open:
                    raise Unsure
                is_open = False
                position, column = self.line_end(position + 3)
                continue
            is_open = True
            self.anchors, self.owner = {}, ""
            node, position, column = self.value(position + 3, -1, 0, is_pair=False)
            roots.append(node)
            if column >= 0:
                raise Unsure

    def block(self, position: int, column: int, indent: int, depth: int) -> tuple[Node, int, int]:
        """A node whose first token opens a line, or follows a dash."""
        if self.is_dash(position):
            return self.sequence(position, column, depth)
        key = self.key(position)
        if key:
            return self.mapping(position, column, depth)
        return self.inline(position, indent, depth, in_block=True)

    def is_dash(self, position: int) -> bool:
        """Whether a `-` here opens an item of a block sequence."""
        text = self.text
        return text[position] == "-" and text[position + 1 : position + 2] in AFTER_DASH

    def key(self, position: int) -> tuple[Scalar, int] | None:
        """A key and the position behind its colon; None when there is no key here."""
        text = self.text
        match = KEY.match(text, position)
        if match:
            return Scalar(position, match.end(1), "", match[1]), match.end()
        char = text[position]
        if char in "\"'":
            end = quoted_end(text, position)
            colon = COLON.match(text, end) if end is not None else None
            if end is None or not colon:
                return None
            node = self.quoted(position)
            if node.text is None or "\n" in text[position:end]:
                raise Unsure
            return node, colon.end()
        match = ANY_KEY.match(text, position)
        if not match or COMMENT.search(match[0]):
            return None
        value = match[0][:-1].rstrip(" ")
        if len(value) > 1000 or "\t" in value:
            raise Unsure
        return Scalar(position, position + len(value), "", value), match.end()

    def mapping(self, position: int, column: int, depth: int) -> tuple[Node, int, int]:
        if depth >= MAX_DEPTH:
            raise too_deep(self.source, position)
        node = Mapping(position, flow=False)
        seen: set[str | None] = set()
        kept = self.kept()
        while True:
            fast = PAIR.match(self.text, position)
            if fast and len(fast[4]) <= column:
                self.pair(node, seen, kept, fast)
                position, found = fast.end(), len(fast[4])
                if found < column:
                    break
                continue
            at = self.key(position)
            if at is None:
                raise Unsure
            key, position = at
            if key.text in seen:
                raise duplicate(self.source, key.start, key.text)
            seen.add(key.text)
            self.owner = key.text
            value, position, found = self.value(position, column, depth + 1, is_pair=True)
            if kept is None or key.text in kept:
                node.pairs.append((key, value))
            elif not node.pairs:
                node.pairs.append((key, dropped(key)))
            if found < column:
                break
            if found > column:
                raise Unsure
        self.counted(len(seen))
        return node, position, found

    def pair(
        self,
        node: Mapping,
        seen: set[str | None],
        kept: frozenset[str] | None,
        match: re.Match[str],
    ) -> None:
        """Add a `key: value` line, with a line of its own after it, that needs no second look."""
        start, name = match.start(), match[1]
        if name in seen:
            raise duplicate(self.source, start, name)
        seen.add(name)
        if kept is not None and name not in kept and node.pairs:
            return
        key = Scalar(start, start + len(name), "", name)
        value, style = match[2], ""
        if value[0] in "\"'":
            value, style = value[1:-1], value[0]
        node.pairs.append((key, Scalar(match.start(2), match.end(2), style, value)))

    def sequence(self, position: int, column: int, depth: int) -> tuple[Node, int, int]:
        if depth >= MAX_DEPTH:
            raise too_deep(self.source, position)
        text = self.text
        node = Sequence(position, flow=False)
        owner = self.owner
        while True:
            self.owner = owner
            dash = position
            position += 1
            while text.startswith(" ", position):
                position += 1
            if text.startswith("\t", position):
                raise Unsure
            if position >= self.size or text[position] in "\r\n#":
                after, found = self.line_end(dash + 1)
                if found > column:
                    value, position, found = self.block(after, found, column, depth + 1)
                else:
                    value, position = Scalar(dash + 1, dash + 1, "", ""), after
            else:
                inner = column + position - dash
                value, position, found = self.block(position, inner, column, depth + 1)
            node.items.append(value)
            if found > column:
                raise Unsure
            if found < column or not self.is_dash(position):
                break
        self.counted(len(node.items))
        return node, position, found

    def value(
        self, position: int, indent: int, depth: int, *, is_pair: bool
    ) -> tuple[Node, int, int]:
        """What follows `key:` or `---`, on the same line or on the next ones."""
        text = self.text
        spaces = SPACES.match(text, position)
        start = spaces.end() if spaces else position
        if start < self.size and text[start] not in "\r\n#":
            return self.inline(start, indent, depth, in_block=False)
        return self.below(position, indent, depth, is_pair=is_pair)

    def below(
        self, position: int, indent: int, depth: int, *, is_pair: bool
    ) -> tuple[Node, int, int]:
        """A node on the next lines, or none at all."""
        after, found = self.line_end(position)
        if found > indent:
            return self.block(after, found, indent, depth)
        if is_pair and 0 <= found == indent and self.is_dash(after):
            return self.sequence(after, found, depth)
        return Scalar(position, position, "", ""), after, found

    def inline(
        self, position: int, indent: int, depth: int, *, in_block: bool
    ) -> tuple[Node, int, int]:
        """A node that starts in the middle of a line, or a scalar that opens one."""
        char = self.text[position]
        if char in "\"'":
            node: Node = self.quoted(position)
            return node, *self.line_end(node.end)  # type: ignore[union-attr]
        if char in "[{":
            node, end = self.flow(position, depth)
            return node, *self.line_end(end)
        if char in "|>":
            return self.literal(position, indent)
        if char == "*":
            node = self.alias(position)
            return node, *self.line_end(node.end)
        if char in "&!":
            return self.with_property(position, indent, depth, in_block=in_block)
        return self.plain(position, indent)

    def with_property(
        self, position: int, indent: int, depth: int, *, in_block: bool
    ) -> tuple[Node, int, int]:
        """A node behind `&anchor` or `!tag`."""
        match = PROPERTY.match(self.text, position)
        if not match:
            if LONG_TAG.match(self.text, position):
                # The exact reader takes a minute to find that out.
                line = self.source.line(position)
                raise InvalidYamlError(self.source.filename, line, "no tag is this long")
            raise Unsure
        spaces = SPACES.match(self.text, match.end())
        start = spaces.end() if spaces else match.end()
        if start >= self.size or self.text[start] in "\r\n#":
            after, _ = self.line_end(match.end())
            if self.text.startswith(("&", "!"), after):
                raise Unsure
            node, position, found = self.below(match.end(), indent, depth, is_pair=not in_block)
        else:
            if self.text[start] in "&!" or (in_block and self.key(start)):
                raise Unsure  # two properties, or one that belongs to the key
            node, position, found = self.inline(start, indent, depth, in_block=in_block)
        if isinstance(node, Alias):
            raise Unsure
        if match[1]:
            self.anchors[match[1]] = node
        return node, position, found
