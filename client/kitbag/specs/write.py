"""Writing an image reference over a scalar, or where one is missing, in the file's own style."""

from __future__ import annotations

import re

from .errors import WriteError
from .nodes import Alias, Mapping, Node, Scalar
from .source import Source

Edit = tuple[int, int, str]

# Plain text without an indicator, a ": " or a " #" in it.
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@+-]*(?<!:)")
# Plain text that YAML 1.1 reads as something else: numbers, times, dates, base 60, booleans, null.
_NOT_TEXT = re.compile(
    r"[-+]?[0-9][0-9_,.:TtZzEeXxOo+-]*|0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|nan)"
    r"|y|yes|n|no|true|false|on|off|null|~|",
    re.IGNORECASE,
)
_DASH = re.compile(r" *- +")
_BLANKS = re.compile(r"\s*")
_TIGHT = re.compile(r"\s*:\S")
_QUOTABLE = re.compile(r"[\x20-\x21\x23-\x26\x28-\x5b\x5d-\x7e]*")


def needs_quotes(value: str) -> bool:
    """Whether a plain scalar of this text would not be read back as this string everywhere."""
    return not _PLAIN.fullmatch(value) or bool(_NOT_TEXT.fullmatch(value))


def replaced(source: Source, scalar: Scalar, value: str) -> Edit:
    """The edit that makes a scalar say `value`, keeping its quotes, block header and line ends."""
    _writable(source, scalar.start, value)
    if scalar.style in ("|", ">"):
        return _block(source, scalar, value)
    if scalar.style:
        return scalar.start + 1, scalar.end - 1, value
    new = f'"{value}"' if needs_quotes(value) else value
    if scalar.start == scalar.end:
        return _empty(source, scalar, new)
    return scalar.start, scalar.end, new


def dereferenced(source: Source, alias: Alias, value: str) -> Edit:
    """The edit that puts a value where an alias token is."""
    _writable(source, alias.start, value)
    return alias.start, alias.end, f'"{value}"' if needs_quotes(value) else value


def inserted(source: Source, holder: Mapping, key: str, value: str) -> Edit:
    """The edit that adds `key: value` to a mapping that lacks it."""
    _writable(source, holder.start, value)
    text = source.text
    plain = f'"{value}"' if needs_quotes(value) else value
    if not holder.flow:
        return inserted_text(source, holder, f"{key}: {plain}")
    inside = holder.start + 1
    if not holder.pairs:
        return inside, inside, f"{key}: {plain}"
    first_key = holder.pairs[0][0]
    gap = flow_gap(source, holder.start, first_key.start)
    quote = first_key.style if isinstance(first_key, Scalar) else ""
    tight = bool(quote) and _TIGHT.match(text, _end(first_key)) is not None
    colon = ":" if tight else ": "
    written = f"{quote}{key}{quote}{colon}{f'{quote}{value}{quote}' if quote else plain},"
    after = gap if "\n" in gap else "" if tight else " "
    return first_key.start, first_key.start, written + after


def inserted_text(source: Source, holder: Mapping, line: str) -> Edit:
    """The edit that adds one line to a block mapping: behind its name or image, else in front."""
    first = holder.pairs[0][0].start
    column = first - (source.text.rfind("\n", 0, first) + 1)
    for wanted in ("image", "name"):
        for name, node in holder.pairs:
            if isinstance(name, Scalar) and name.text == wanted and isinstance(node, Scalar):
                end = _one_line(source, node)
                if end is not None:
                    return end, end, f"{newline(source)}{' ' * column}{line}"
    return first, first, f"{line}{newline(source)}{' ' * column}"


def added_item(source: Source, last: Scalar, value: str) -> Edit:
    """The edit that adds a line to a block sequence, behind the item `last`."""
    _writable(source, last.start, value)
    start, end = _item_line(source, last)
    prefix = source.text[start : last.start]
    plain = f'"{value}"' if needs_quotes(value) else value
    after = source.text.find("\n", end)
    if after < 0:
        return end, end, f"{newline(source)}{prefix}{plain}"
    return after + 1, after + 1, f"{prefix}{plain}{source.text[end : after + 1]}"


def removed_item(source: Source, item: Scalar) -> Edit:
    """The edit that takes an item of a block sequence out, with its line."""
    start, end = _item_line(source, item)
    after = source.text.find("\n", end)
    if after >= 0:
        return start, after + 1, ""
    before = start - 1 - source.text.startswith("\r\n", start - 2)
    return max(before, 0), len(source.text), ""


def _item_line(source: Source, item: Scalar) -> tuple[int, int]:
    """Where the line of an item begins and ends; WriteError if it has more than the item."""
    start = source.text.rfind("\n", 0, item.start) + 1
    end = _one_line(source, item)
    if end is None or not _DASH.fullmatch(source.text, start, item.start):
        raise WriteError(
            source.filename,
            source.line(item.start),
            "this item is not on a line of its own; write it there",
        )
    return start, end


def flow_gap(source: Source, holder: int, first: int | None) -> str:
    """The blanks in front of the first thing in a flow collection; WriteError for comments."""
    text = source.text
    blanks = _BLANKS.match(text, holder + 1)
    gap = blanks[0] if blanks else ""
    behind = holder + 1 + len(gap)
    if text.startswith("#", behind) if first is None else behind != first:
        raise WriteError(
            source.filename,
            source.line(holder),
            "there is no simple place to add anything here; add it by hand",
        )
    return gap


def _end(node: Node) -> int:
    return node.end if isinstance(node, (Scalar, Alias)) else node.start


def newline(source: Source) -> str:
    """The line end that the file uses: that of its first line."""
    end = source.text.find("\n")
    return "\r\n" if end > 0 and source.text[end - 1] == "\r" else "\n"


def _empty(source: Source, scalar: Scalar, new: str) -> Edit:
    """Nothing is written yet: use the blank behind the colon, and leave one before a comment."""
    text, start = source.text, scalar.start
    introduced = text[max(0, start - 200) : start].rstrip(" \t")
    if not introduced.endswith((":", "-")) and not re.search(r"[&!]\S*$", introduced):
        raise WriteError(
            source.filename,
            source.line(start),
            "an image is expected here and there is nothing, not even a colon; write it by hand",
        )
    if not text.startswith((" ", "\t"), start):
        return start, start, f" {new}"
    return start + 1, start + 1, f"{new} " if text.startswith("#", start + 1) else new


def _block(source: Source, scalar: Scalar, value: str) -> Edit:
    """Keep the header and the indentation; the content becomes one line."""
    text = source.text
    header_end = text.find("\n", scalar.start, scalar.end) + 1
    body = text[header_end : scalar.end]
    content = body.strip(" \t\r\n")
    if not header_end or not content:
        raise WriteError(
            source.filename,
            source.line(scalar.start),
            "this block scalar is empty, so there is no place for an image; write it on one line",
        )
    start = header_end + body.index(content)
    return start, start + len(content), value


def _one_line(source: Source, node: Scalar) -> int | None:
    """The end of the line that a scalar ends on, or None when nothing simple can follow it."""
    if node.style in ("|", ">") or "\n" in source.text[node.start : node.end]:
        return None
    end = source.text.find("\n", node.end)
    end = len(source.text) if end < 0 else end
    return end - 1 if source.text[end - 1 : end] == "\r" else end


def _writable(source: Source, position: int, value: str) -> None:
    if not _QUOTABLE.fullmatch(value):
        raise WriteError(
            source.filename,
            source.line(position),
            "a reference with quotes, backslashes or control characters cannot be written here",
        )
