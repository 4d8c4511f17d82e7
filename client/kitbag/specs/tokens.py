"""What the fast reader knows by sight: the tokens of YAML as regular expressions."""

from __future__ import annotations

import re


class Unsure(Exception):  # noqa: N818 - a signal between the two readers, not an error
    """The text may or may not be YAML: ask the exact reader. `position` is about where."""

    position = 0


# A repeated group takes memory for every turn until the match is decided, so those that a stranger
# may make long are bounded, and matched again from where they stopped.
_TURNS = "{0,1000}"

# Characters that YAML forbids, or that are line breaks to some readers and not to others.
ODD = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
END = re.compile(r"[ \t]*(?:(?<=[ \t])#[^\n]*|\r?)(?:\n|\Z)")
GAP = re.compile(rf"(?:[ ]*(?:#[^\n]*)?\r?\n){_TURNS}[ ]*(?:#[^\n]*\Z)?")
KEY = re.compile(r"([A-Za-z0-9_$/(][\w.$/()+~^@-]*)[ ]*:(?=[ \t\r\n]|\Z)")
# The most usual line, at once: a plain key, a value on the same line, and how far the line after
# it is indented.
PAIR = re.compile(
    r"([A-Za-z_][\w./-]*):[ ]+"
    r"([A-Za-z0-9_./$(][^\s:#]*(?:(?::|[ ]+)[^\s:#]+)*|\"[^\"\\\r\n]*\"|'[^'\r\n]*')"
    r"[ ]*(\r?\n)([ ]*)(?=[A-Za-z_\"']|-[ ])"
)
ANY_KEY = re.compile(r"(?:[^\s\-?:,\[\]{}#&*!|>%@`\"']|[-?:](?=[^\s]))[^\r\n]*?:(?=[ \t\r\n]|\Z)")
_ESCAPED = (
    r'\\(?:["\\/abefnrtv0 \tNLP_\n]|\r\n|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})[^"\\]*'
)
_DOUBLE = re.compile(rf'[^"\\]*(?:{_ESCAPED}){_TURNS}')
_SINGLE = re.compile(rf"[^']*(?:''[^']*){_TURNS}")
COLON = re.compile(r"[ ]*:(?=[ \t\r\n]|\Z)")
LINE = re.compile(r"[^\r\n]*")
COMMENT = re.compile(r"[ \t]#")
INNER_COLON = re.compile(r":(?:[ \t]|\Z)")
HEADER = re.compile(r"[|>](?:([1-9])[+-]?|[+-]([1-9])?)?(?:[ \t]+#[^\n]*|[ \t]*\r?)(?:\n|\Z)")
FIRST = re.compile(r"[^ \r\n]")
PROPERTY = re.compile(r"(?:&([^\s,\[\]{}]+)|!!?[\w.:/-]*)(?=[ \t\r\n]|\Z)")
LONG_TAG = re.compile(r"!\S{1000}")
ALIAS = re.compile(r"\*([^\s,\[\]{}]+)")
MARKER = re.compile(r"(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
MARKER_INSIDE = re.compile(r"\n(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
AFTER_DASH = frozenset(("", " ", "\n", "\r"))
SPACES = re.compile(r"[ \t]*")
FLOW_GAP = re.compile(rf"(?:[ \t\r\n]+(?:#[^\n]*)?){_TURNS}")
FLOW_PLAIN = re.compile(
    r"(?:[^\s\-?:,\[\]{}#&*!|>%@`\"']|-(?=[^\s,\[\]{}]))"
    r"[^\s:,\[\]{}]*(?:(?::|[ \t]+(?=[^\s#]))[^\s:,\[\]{}]+)*"
)


def quoted_end(text: str, position: int) -> int | None:
    """The position behind the quoted scalar that begins here; None if it doesn't end."""
    quote = text[position]
    inside = _DOUBLE if quote == '"' else _SINGLE
    end = position + 1
    while True:
        match = inside.match(text, end)
        if match is None:
            return None
        # A quote behind all the turns may be the first of two.
        if text.startswith(quote, match.end()) and not text.startswith("''", match.end()):
            return match.end() + 1
        if match.end() == end:
            return None
        end = match.end()
