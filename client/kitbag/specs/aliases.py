"""How often each node of a document is used, counting every alias of it and of what holds it."""

from __future__ import annotations

from collections import defaultdict

from .errors import AliasError
from .nodes import Alias, Mapping, Node, Sequence, children
from .source import Source

# Kubernetes' own reader refuses documents that aliases blow up; manifests stay far below this.
_FREE = 100_000
_FACTOR = 10


class Uses:
    """The uses of every node under a root.

    Raises AliasError when the document would grow more than tenfold (and over 100,000
    values) if every alias were written out.
    """

    def __init__(self, source: Source, root: Node) -> None:
        below: dict[int, list[Node]] = {}
        parents: dict[int, int] = defaultdict(int)
        self._tokens: dict[int, list[Alias]] = defaultdict(list)
        stack, order = [root], [root]
        while stack:
            node = stack.pop()
            nodes: list[Node] = list(children(node))
            if isinstance(node, Alias):
                nodes = [node.target]
            if isinstance(node, Alias):
                self._tokens[id(node.target)].append(node)
            elif isinstance(node, (Mapping, Sequence)):
                stack += nodes
                order += nodes
            if nodes:
                below[id(node)] = nodes
            for child in nodes:
                parents[id(child)] += 1
        self._counts: dict[int, int] = defaultdict(int)
        self._counts[id(root)] = 1
        ready, total = [root], 0
        limit = max(_FREE, _FACTOR * len(order))
        while ready:
            node = ready.pop()
            total += self._counts[id(node)]
            if total > limit:
                raise AliasError(
                    source.filename,
                    source.line(root.start),
                    "its aliases stand for far more than the file holds; write them out",
                )
            for child in below.get(id(node), ()):
                self._counts[id(child)] += self._counts[id(node)]
                parents[id(child)] -= 1
                if not parents[id(child)]:
                    ready.append(child)

    def count(self, node: Node) -> int:
        """How many places of the document the node serves; 1 when no alias is involved."""
        return self._counts[id(node)]

    def tokens(self, node: Node) -> list[Alias]:
        """The alias tokens that name this very node."""
        return self._tokens.get(id(node), [])
