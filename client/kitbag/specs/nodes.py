"""The shape of a YAML text with the place of every scalar, and nothing more.

Positions are character offsets into the decoded text. A scalar's slice is its content alone,
quotes and block header included, anchor and tag left out, so that splicing keeps those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(slots=True, eq=False)
class Scalar:
    """One value; `style` is "" (plain), "'", '"', "|" or ">".

    `text` is what it says, or None when it is too long, or has too many lines, to be a name or a
    reference (see `decode`).
    """

    start: int
    end: int
    style: str
    text: str | None


@dataclass(slots=True, eq=False)
class Mapping:
    """Pairs in the order of the file, merge keys (`<<`) as they are written."""

    start: int
    flow: bool
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Sequence:
    """Items in the order of the file."""

    start: int
    flow: bool
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Alias:
    """`*name`: the same node once more."""

    start: int
    end: int
    target: Scalar | Mapping | Sequence


@dataclass(frozen=True, slots=True)
class Keep:
    """Which keys anybody will ask for: `words`, and every key of the values of `parents`."""

    words: frozenset[str]
    parents: frozenset[str]


Node: TypeAlias = Scalar | Mapping | Sequence | Alias
Real: TypeAlias = Scalar | Mapping | Sequence


def real(node: Node) -> Real:
    """The node itself, or what the alias stands for."""
    return node.target if isinstance(node, Alias) else node


def children(node: Node) -> Iterator[Node]:
    """The values under a collection (keys are not values); none under scalars and aliases."""
    if isinstance(node, Mapping):
        for _, value in node.pairs:
            yield value
    elif isinstance(node, Sequence):
        yield from node.items


def descend(root: Node) -> Iterator[Node]:
    """Every value under a root, each once, aliases not followed, in the order of the file."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(children(node))))
