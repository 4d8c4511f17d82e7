"""Adding what is missing to a mapping or a list, in the style of what is around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import WriteError
from .kinds import join
from .nodes import Mapping, Node, Scalar, Sequence, descend, real
from .path import members
from .source import Source
from .write import Edit, flow_gap, inserted_text, needs_quotes, newline, replaced

Value: TypeAlias = "str | dict[str, Value] | list[Value]"

_HEAD = re.compile(r"[\[{\s]*(\"[^\"\n]*\"|'[^'\n]*'|[^\s:,\[\]{}]*)\s*(:?)(\s?)")
_COMMENT = re.compile(r"([ ]*)#")


@dataclass(frozen=True, slots=True)
class Addition:
    """An edit of one value: the way to it, the node it is made at, and what it says now."""

    path: str
    node: Node
    edit: Edit
    after: str
    before: str | None = None


def added(
    source: Source, holder: Mapping, wanted: dict[str, Value], at: str = ""
) -> Iterator[Addition]:
    """The edits after which a mapping says what is wanted, and everything else it said.

    Texts are set, mappings are merged, and what a list lacks goes to its front. `at` is the path of
    the mapping. Raises WriteError.
    """
    for key, value in wanted.items():
        node = next((value for _, value in members(holder, key)), None)
        there = None if node is None else real(node)
        path = join(at, key)
        if there is None:
            edit = _inserted(source, holder, key, value)
            yield Addition(path, holder, edit, said(value))
        elif isinstance(there, Scalar) and isinstance(value, str):
            if there.text != value:
                yield Addition(path, there, replaced(source, there, value), value, there.text)
        elif isinstance(there, Scalar) and not there.style and there.text in ("", "~", "null"):
            edit = _filled(source, there, _flow(value, quote=""))
            yield Addition(path, there, edit, said(value))
        elif isinstance(there, Mapping) and isinstance(value, dict):
            yield from added(source, there, value, path)
        elif isinstance(there, Sequence) and isinstance(value, list):
            lacking = [item for item in value if not _holds(there, item)]
            if lacking:
                yield Addition(path, there, _front(source, there, lacking), said(lacking))
        else:
            raise WriteError(
                source.filename,
                source.line(there.start),
                f"{path} is not what it should be here, so nothing is added to it; repair it by"
                " hand",
            )


def said(value: Value) -> str:
    """A value as reports show it."""
    return _flow(value, quote="")


def _filled(source: Source, scalar: Scalar, new: str) -> Edit:
    """A flow collection where nothing, or null, is written."""
    if scalar.start < scalar.end:
        return scalar.start, scalar.end, new
    gap = "" if source.text[scalar.start - 1 : scalar.start].isspace() else " "
    return scalar.start, scalar.start, f"{gap}{new}"


def document(source: Source, wanted: dict[str, Value]) -> Edit:
    """The edit that adds one more document to the end of a file of block YAML."""
    end = newline(source)
    text = source.text
    lead = "" if text.endswith("\n") or not text else end
    written = end.join(_block(wanted, 0, dash=0))
    return len(text), len(text), f"{lead}---{end}{written}{end}"


def _holds(there: Sequence, item: Value) -> bool:
    """Whether an item of the list says what is to be added, in whichever of its values."""
    name = next(iter(item.values())) if isinstance(item, dict) else item
    return any(
        isinstance(node, Scalar) and node.text == name
        for value in there.items
        for node in descend(real(value))
    )


def _front(source: Source, there: Sequence, items: list[Value]) -> Edit:
    text = source.text
    if not there.flow:
        column = _column(text, there.start)
        lines = [line for item in items for line in _block([item], 0, dash=0)]
        pad = newline(source) + " " * column
        return there.start, there.start, "".join(line + pad for line in lines)
    inside = there.start + 1
    compact, quote = _flow_style(text, there.start)
    written = [_flow(item, quote=quote, compact=compact) for item in items]
    if not there.items:
        return inside, inside, ("," if compact else ", ").join(written)
    gap = flow_gap(source, there.start, None)
    after = gap or ("" if compact else " ")
    return inside, inside, gap + f",{after}".join(written) + "," + ("" if gap else after)


def _inserted(source: Source, holder: Mapping, key: str, value: Value) -> Edit:
    text = source.text
    if holder.flow:
        compact, quote = _flow_style(text, holder.start)
        colon = ":" if compact else ": "
        inside = holder.start + 1
        name = f"{quote}{key}{quote}{colon}"
        if not holder.pairs:
            return inside, inside, name + _flow(value, quote=quote, compact=compact)
        first = holder.pairs[0][0].start
        gap = flow_gap(source, holder.start, first)
        if "\n" in gap:
            end = newline(source)
            pad = gap.rpartition("\n")[2]
            unit = _unit(text, holder.start, pad)
            written = _spread(value, end + pad, unit, quote)
            return first, first, f"{name}{written},{gap}"
        written = _flow(value, quote=quote, compact=compact)
        return first, first, f"{name}{written}," + (gap or ("" if compact else " "))
    first = holder.pairs[0][0].start
    column = _column(text, first)
    lines = _block({key: value}, 0, dash=_dash(text, holder))
    if isinstance(value, str):
        return inserted_text(source, holder, lines[0])
    start = _before_comments(text, first, column)
    pad = " " * column
    end = newline(source)
    if start == first:
        return first, first, "".join(f"{line}{end}{pad}" for line in lines)
    return start, start, "".join(f"{pad}{line}{end}" for line in lines)


def _before_comments(text: str, first: int, column: int) -> int:
    """The start of the lines of comments right above a key that opens its line, or the key."""
    start = first - column
    if text[start:first].strip(" "):
        return first
    found = first
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        comment = _COMMENT.match(text, above, start)
        if not comment or len(comment[1]) != column:
            break
        found = start = above
    return found


def _column(text: str, position: int) -> int:
    return position - (text.rfind("\n", 0, position) + 1)


def _dash(text: str, holder: Mapping) -> int:
    """How far lists of this mapping are indented behind their key: as its own are, else not."""
    for key, value in holder.pairs:
        if isinstance(value, Sequence) and not value.flow:
            return max(0, _column(text, value.start) - _column(text, key.start))
    return 0


def _flow_style(text: str, start: int) -> tuple[bool, str]:
    """Whether a flow collection is written without blanks, and what it quotes its keys with."""
    head = _HEAD.match(text, start)
    if not head:
        return False, ""
    quote = head[1][:1] if head[1][:1] in ("'", '"') else ""
    return bool(head[2]) and not head[3] and bool(quote), quote


def _unit(text: str, start: int, pad: str) -> str:
    """One step of indentation in flow collections that are spread over lines."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    outer = line[: len(line) - len(line.lstrip())]
    return pad[len(outer) :] if pad.startswith(outer) else "  "


def _quoted(value: str, quote: str) -> str:
    if quote:
        return f"{quote}{value}{quote}"
    return f'"{value}"' if needs_quotes(value) else value


def _flow(value: Value, *, quote: str, compact: bool = False) -> str:
    comma, colon = (",", ":") if compact else (", ", ": ")
    if isinstance(value, str):
        return _quoted(value, quote)
    if isinstance(value, list):
        return "[" + comma.join(_flow(v, quote=quote, compact=compact) for v in value) + "]"
    pairs = (
        f"{quote}{key}{quote}{colon}{_flow(v, quote=quote, compact=compact)}"
        for key, v in value.items()
    )
    return "{" + comma.join(pairs) + "}"


def _spread(value: Value, pad: str, unit: str, quote: str) -> str:
    """A flow value over several lines, as JSON is indented; `pad` begins with a line end."""
    if isinstance(value, str):
        return _quoted(value, quote)
    deeper = pad + unit
    if isinstance(value, list):
        inner = ",".join(deeper + _spread(v, deeper, unit, quote) for v in value)
        return f"[{inner}{pad}]"
    inner = ",".join(
        f"{deeper}{quote}{key}{quote}: {_spread(v, deeper, unit, quote)}"
        for key, v in value.items()
    )
    return f"{{{inner}{pad}}}"


def _block(value: Value, column: int, *, dash: int) -> list[str]:
    """The lines of a block value; `dash` is how far lists are indented behind their key."""
    pad = " " * column
    lines: list[str] = []
    if isinstance(value, str):
        return [pad + _quoted(value, "")]
    if isinstance(value, list):
        for item in value:
            first, *rest = _block(item, 0, dash=dash)
            lines += [f"{pad}- {first}", *(f"{pad}  {line}" for line in rest)]
        return lines
    for key, below in value.items():
        name = f'"{key}"' if needs_quotes(key) else key
        if isinstance(below, str):
            lines.append(f"{pad}{name}: {_quoted(below, '')}")
        else:
            deeper = column + (dash if isinstance(below, list) else 2)
            lines += [f"{pad}{name}:", *_block(below, deeper, dash=dash)]
    return lines
