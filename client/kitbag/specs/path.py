"""The path language of the table of kinds.

    path     = [ step ] *( "." step )
    step     = ( name | quoted | "*" ) *selector | 1*selector
    name     = letters, digits, "_", "-", "/" and "$"
    quoted   = '"' anything but '"' '"'
    selector = "[*]" | "[" number "]" | "[" key "=" value "]" | "[" key "^=" prefix "]"
    key      = ( name | quoted ) *( "." ( name | quoted ) )

`a.b` is the value of key b in mapping a, `*` every value of a mapping, `[*]` every item of a
sequence, `[0]` its first, `[name=x]` those items whose `name` is x, and `[name^=x]` those whose
`name` starts with x; instead of `name` there may be several keys, as in `[metadata.labels.a=x]`.
Merge keys (`<<`) are looked through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from .nodes import Keep, Mapping, Node, Scalar, Sequence, real

_STEP = re.compile(r'([\w\-/$]+|"[^"]+"|\*)')
INSIDE = "|"
"""Stands between the path of a text and the path inside it, where places are reported."""
_NAME = r'(?:[\w\-/$]+|"[^"]+")'
_SELECTOR = re.compile(rf"\[(?:(\*)|(\d+)|({_NAME}(?:\.{_NAME})*)(\^?=)([^\]]*))\]")


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a mapping; None stands for every key."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a sequence by number, or all of them."""

    number: int | None


@dataclass(frozen=True, slots=True)
class Where:
    """The items in which the text at the path `key` is `value`, or starts with it."""

    key: str
    value: str
    prefix: bool


Step: TypeAlias = Key | Item | Where


@lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """Read a path; raises ValueError with one sentence. The empty path is the root itself."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if steps:
            if path[position] != ".":
                break
            position += 1
        begin = position
        match = _STEP.match(path, position)
        if match:
            steps.append(Key(None if match[1] == "*" else match[1].strip('"')))
            position = match.end()
        while selector := _SELECTOR.match(path, position):
            position = selector.end()
            if selector[1]:
                steps.append(Item(None))
            elif selector[2]:
                steps.append(Item(int(selector[2])))
            else:
                steps.append(Where(selector[3], selector[5], selector[4] == "^="))
        if position == begin:
            break
    if position < len(path) or path.endswith("."):
        raise ValueError(f"{path!r} is no path: it stops making sense at character {position + 1}")
    return tuple(steps)


def keep(*texts: str) -> Keep:
    """The keys that these paths ask for."""
    words, parents = set(), set()
    for text in texts:
        owner = ""
        for step in parse(text):
            if isinstance(step, Key) and step.name is None:
                parents.add(owner)
            elif isinstance(step, Key) and step.name is not None:
                owner = step.name
                words.add(owner)
            elif isinstance(step, Where):
                words |= keep(step.key).words
    return Keep(frozenset(words), frozenset(parents))


@dataclass(frozen=True, slots=True)
class Hit:
    """A node that a path leads to.

    `path` is the way in full, `holder` the mapping that the last key was found in, and `label` what
    a person would call the place: the last `*` on the way, or the `name` of the last item.
    """

    path: str
    label: str
    node: Node
    holder: Mapping | None = None

    @property
    def real(self) -> Mapping | Sequence | Scalar:
        return real(self.node)


def walk(root: Node, path: str, at: str = "") -> Iterator[Hit]:
    """Every node that the path leads to, in the order of the file; `at` is the root's own path."""
    return _walk(Hit(at, at.rpartition(".")[2], root), parse(path), 0)


def first(root: Node, path: str) -> Node | None:
    """The first node that the path leads to, with an alias resolved, or None."""
    for hit in walk(root, path):
        return hit.real
    return None


def _walk(hit: Hit, steps: tuple[Step, ...], number: int) -> Iterator[Hit]:
    if number == len(steps):
        yield hit
        return
    step = steps[number]
    node = hit.real
    if isinstance(step, Key):
        if isinstance(node, Mapping):
            for name, value in members(node, step.name):
                label = hit.label if step.name else name
                below = Hit(_join(hit.path, name), label, value, node)
                yield from _walk(below, steps, number + 1)
    elif isinstance(node, Sequence):
        for index, value in enumerate(node.items):
            if _selected(step, index, value):
                below = Hit(f"{hit.path}[{index}]", _named(value) or hit.label, value, hit.holder)
                yield from _walk(below, steps, number + 1)


def members(node: Mapping, wanted: str | None) -> Iterator[tuple[str, Node]]:
    """Pairs of a mapping with text keys, merged ones last; `wanted` None means all of them."""
    seen: set[str] = set()
    stack: list[Mapping] = [node]
    done: set[int] = set()
    while stack:
        mapping = stack.pop(0)
        if id(mapping) in done:
            continue
        done.add(id(mapping))
        for key, value in mapping.pairs:
            name = key.text if isinstance(key, Scalar) else None
            if name is None:
                continue
            if name == "<<":
                stack.extend(_merged(value))
            elif (wanted is None or name == wanted) and name not in seen:
                seen.add(name)
                yield name, value


def _merged(value: Node) -> list[Mapping]:
    node = real(value)
    if isinstance(node, Mapping):
        return [node]
    items = node.items if isinstance(node, Sequence) else []
    return [item for item in map(real, items) if isinstance(item, Mapping)]


def _selected(step: Item | Where, index: int, value: Node) -> bool:
    if isinstance(step, Item):
        return step.number is None or step.number == index
    text = _text(value, step.key)
    if text is None:
        return False
    return text.startswith(step.value) if step.prefix else text == step.value


def _named(value: Node) -> str:
    """What people call an item of a list."""
    for key in ("name", "id", "slug", "display_name"):
        text = _text(value, key)
        if text:
            return text
    return ""


def _text(value: Node, key: str) -> str | None:
    """The text that a path leads to in an item."""
    node = first(value, key)
    return node.text if isinstance(node, Scalar) else None


def _join(path: str, name: str) -> str:
    shown = name if re.fullmatch(r"[\w\-/$]+", name) else f'"{name}"'
    return f"{path}.{shown}" if path and not path.endswith(INSIDE) else f"{path}{shown}"
