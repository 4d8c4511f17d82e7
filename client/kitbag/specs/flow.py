"""The fast reader's flow collections, JSON included."""

from __future__ import annotations

from .compose import duplicate, no_key, too_deep
from .nodes import Mapping, Node, Scalar, Sequence
from .scalars import ScalarScanner
from .source import MAX_DEPTH
from .tokens import FLOW_GAP, FLOW_PLAIN, Unsure


def dropped(key: Scalar) -> Scalar:
    """What stands for a value that nobody will ask for, behind the first key of a mapping.

    The first key itself is always there, so that a missing one can be added in front of it.
    """
    return Scalar(key.end, key.end + 1, "", None)


class FlowScanner(ScalarScanner):
    """Methods take a position; each returns a node and the position behind it."""

    def flow(self, position: int, depth: int) -> tuple[Node, int]:
        """A flow collection, JSON included, and the position behind it."""
        if depth >= MAX_DEPTH:
            raise too_deep(self.source, position)
        text = self.text
        start, is_map = position, text[position] == "{"
        pairs: list[tuple[Node, Node]] = []
        items: list[Node] = []
        seen: set[str | None] = set()
        kept, owner = self.kept(), self.owner
        closing = "}" if is_map else "]"
        position = self.flow_gap(position + 1)
        while not text.startswith(closing, position):
            if is_map:
                key, position = self.flow_key(position)
                if key.text in seen:
                    raise duplicate(self.source, key.start, key.text)
                seen.add(key.text)
                self.owner = key.text
                position = self.flow_gap(position)
                if text.startswith(":", position):
                    follows = text[position + 1 : position + 2]
                    if not key.style and follows not in (" ", "\t", "\n", "\r"):
                        raise Unsure
                    position = self.flow_gap(position + 1)
                    value, position = self.flow_node(position, depth)
                else:
                    value = Scalar(key.end, key.end, "", "")
                if kept is None or key.text in kept:
                    pairs.append((key, value))
                elif not pairs:
                    pairs.append((key, dropped(key)))
            else:
                self.owner = owner
                value, position = self.flow_node(position, depth)
                items.append(value)
            position = self.flow_gap(position)
            if text.startswith(",", position):
                position = self.flow_gap(position + 1)
            elif not text.startswith(closing, position):
                raise Unsure
        self.counted(len(seen) + len(items))
        if is_map:
            return Mapping(start, flow=True, pairs=pairs), position + 1
        return Sequence(start, flow=True, items=items), position + 1

    def flow_gap(self, position: int) -> int:
        match = FLOW_GAP.match(self.text, position)
        end = match.end() if match else position
        while self.text.startswith((" ", "\t", "\r", "\n"), end):
            match = FLOW_GAP.match(self.text, end)
            end = match.end() if match else end
        self.at = end
        if end >= self.size:
            raise Unsure
        if end > position and self.text[end] in "-." and self.text[end - 1] == "\n":
            raise Unsure  # perhaps a document marker inside the collection
        return end

    def flow_key(self, position: int) -> tuple[Scalar, int]:
        if self.text[position] in "[{":
            raise no_key(self.source, position)
        node, position = self.flow_scalar(position)
        if node.text is None or len(node.text) > 1000:
            raise Unsure
        return node, position

    def flow_scalar(self, position: int) -> tuple[Scalar, int]:
        if self.text[position] in "\"'":
            node = self.quoted(position)
            return node, node.end
        match = FLOW_PLAIN.match(self.text, position)
        if not match:
            raise Unsure
        return Scalar(position, match.end(), "", match[0]), match.end()

    def flow_node(self, position: int, depth: int) -> tuple[Node, int]:
        char = self.text[position]
        if char in "[{":
            return self.flow(position, depth + 1)
        if char == "*":
            node = self.alias(position)
            return node, node.end
        if char in ",}":
            raise Unsure
        return self.flow_scalar(position)
