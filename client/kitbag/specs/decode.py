"""What a scalar's slice says, for slices short enough to be a name or a reference."""

from __future__ import annotations

import re

MAX_CHARS = 1000
"""Longer slices are left undecoded: no key, name or image reference is that long."""

_FOLD = r"[ \t]*\r?\n[ \t\r\n]*"
LINES = re.compile(_FOLD)
SINGLE = re.compile(rf"''|{_FOLD}")
ESCAPES = re.compile(
    rf"\\(?P<joined>\r?\n[ \t\r\n]*)|\\(?P<code>x..|u....|U.{{8}}|.)|{_FOLD}", re.DOTALL
)
_NAMED = {
    **{char: char for char in '"\\/ \t'},
    **dict(zip("0abtnvfreN_LP", "\0\a\b\t\n\v\f\r\x1b\x85\xa0\u2028\u2029", strict=True)),
}


def double_quoted(inner: str) -> str:
    """The text between double quotes, escapes and line folds undone."""
    if "\\" in inner or "\n" in inner:
        return ESCAPES.sub(escaped, inner)
    return inner


def single_quoted(inner: str) -> str:
    """The text between single quotes."""
    return plain(inner).replace("''", "'")


def plain(slice_: str) -> str:
    """A plain scalar; its lines are folded."""
    return LINES.sub(folded, slice_) if "\n" in slice_ else slice_


def block(header: str, body: str, indent: int) -> str | None:
    """A block scalar with one line of content, indented by `indent`; None when it has more."""
    lines = body.replace("\r\n", "\n").split("\n")
    full = [number for number, line in enumerate(lines) if len(line) > indent]
    if len(full) != 1 or not lines[full[0]].strip(" "):
        return None
    before, after = full[0], len(lines) - 1 - full[0]
    content = "\n" * before + lines[before][indent:]
    if "-" in header or not after:
        return content
    return content + "\n" * (after if "+" in header else 1)


def folded(match: re.Match[str]) -> str:
    """What a match of LINES says."""
    breaks = match[0].count("\n")
    return " " if breaks == 1 else "\n" * (breaks - 1)


def unquoted(match: re.Match[str]) -> str:
    """What a match of SINGLE says."""
    return "'" if match[0] == "''" else folded(match)


def escaped(match: re.Match[str]) -> str:
    """What a match of ESCAPES says."""
    if match["joined"] is not None:
        return "\n" * (match["joined"].count("\n") - 1)
    code = match["code"]
    if code is None:
        return folded(match)
    return _NAMED[code] if len(code) == 1 else chr(int(code[1:], 16))
