"""The exact reader: ruamel.yaml's events as nodes. Slow, but the judge of what is YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
)

from .errors import (
    AliasError,
    DuplicateKeyError,
    InvalidYamlError,
    SpecError,
    TooBigError,
    TooDeepError,
)
from .nodes import Alias, Mapping, Node, Real, Scalar, Sequence, real
from .source import MAX_DEPTH, MAX_NODES, Source

_PROPERTIES = re.compile(r"(?:[&!][^\s]*[ \t]*(?:(?:#[^\n]*)?\r?\n[ \t]*)*)*")


def compose(source: Source) -> list[Node]:
    """The root of every document. Raises the errors of `read`, TemplateError apart."""
    try:
        return list(_documents(source))
    except SpecError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = int(mark.line) + 1 if mark else 0
        said = " ".join(str(error.problem or error.context).split())
        raise InvalidYamlError(source.filename, line, f"this is not YAML: {said}") from None
    except (YAMLError, YAMLStreamError) as error:
        line = source.line(getattr(error, "position", 0) or 0)
        said = " ".join(str(getattr(error, "reason", error)).split())
        raise InvalidYamlError(source.filename, line, f"this is not YAML: {said}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidYamlError(source.filename, 0, f"this is not YAML: {error}") from None


class _Open:
    """A collection that is being filled, with the key that waits for its value."""

    __slots__ = ("anchor", "key", "node", "seen")

    def __init__(self, node: Mapping | Sequence, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Node | None = None
        self.seen: set[str] = set()


def _documents(source: Source) -> Iterator[Node]:
    parser: Any = YAML(typ="safe", pure=True)
    stack: list[_Open] = []
    anchors: dict[str, Real] = {}
    pending: set[str] = set()
    root: Node | None = None
    count = 0
    for event in parser.parse(source.text):
        if isinstance(event, DocumentStartEvent):
            anchors, root, pending = {}, None, set()
        elif isinstance(event, DocumentEndEvent):
            if root is not None:
                yield root
        elif isinstance(event, CollectionEndEvent):
            done = stack.pop()
            if done.anchor:
                anchors[done.anchor] = real(done.node)
                pending.discard(done.anchor)
            root = _attach(source, stack, done.node)
        elif isinstance(event, (ScalarEvent, AliasEvent, CollectionStartEvent)):
            count += 1
            if count > MAX_NODES:
                raise too_many(source)
            node = _node(source, event, anchors, pending)
            if isinstance(node, (Mapping, Sequence)):
                stack.append(_Open(node, event.anchor))
                if event.anchor:
                    pending.add(event.anchor)
                if len(stack) > MAX_DEPTH:
                    raise too_deep(source, node.start)
                continue
            if isinstance(node, Scalar) and event.anchor:
                anchors[event.anchor] = node
            root = _attach(source, stack, node)


def _node(
    source: Source,
    event: ScalarEvent | AliasEvent | CollectionStartEvent,
    anchors: dict[str, Real],
    pending: set[str],
) -> Node:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, AliasEvent):
        if event.anchor in pending:
            raise AliasError(
                source.filename, source.line(start), f"*{event.anchor} stands inside itself"
            )
        if event.anchor not in anchors:
            raise InvalidYamlError(
                source.filename, source.line(start), f"no anchor &{event.anchor} before this alias"
            )
        return Alias(start, end, anchors[event.anchor])
    if isinstance(event, ScalarEvent):
        match = _PROPERTIES.match(source.text, start, end)
        start = match.end() if match and (event.anchor or event.tag) else start
        if not event.value and not event.style:
            # Nothing is written: the place for a value is right behind what introduces it.
            start = end
        return Scalar(start, end, event.style or "", event.value)
    if isinstance(event, MappingStartEvent):
        return Mapping(start, bool(event.flow_style))
    return Sequence(start, bool(event.flow_style))


def _attach(source: Source, stack: list[_Open], node: Node) -> Node:
    if not stack:
        return node
    top = stack[-1]
    if isinstance(top.node, Sequence):
        top.node.items.append(node)
    elif top.key is None:
        key = real(node)
        if isinstance(key, Scalar):
            if key.text in top.seen:
                raise duplicate(source, node.start, key.text)
            top.seen.add(key.text or "")
        else:
            raise no_key(source, node.start)
        top.key = node
    else:
        top.node.pairs.append((top.key, node))
        top.key = None
    return node


def too_many(source: Source) -> TooBigError:
    return TooBigError(
        source.filename, 0, f"the file holds over {MAX_NODES:,} values; split it into smaller files"
    )


def too_deep(source: Source, position: int) -> TooDeepError:
    return TooDeepError(
        source.filename,
        source.line(position),
        f"collections are nested over {MAX_DEPTH} deep, which no manifest needs",
    )


def no_key(source: Source, position: int) -> InvalidYamlError:
    return InvalidYamlError(
        source.filename, source.line(position), "a collection cannot be a key in a manifest"
    )


def duplicate(source: Source, position: int, key: str | None) -> DuplicateKeyError:
    shown = repr(key if key is None or len(key) <= 80 else key[:77] + "...")
    return DuplicateKeyError(
        source.filename, source.line(position), f"the key {shown} is there twice; remove one"
    )
