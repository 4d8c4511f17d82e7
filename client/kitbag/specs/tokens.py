"""What the fast reader knows by sight: the tokens of YAML as regular expressions."""

from __future__ import annotations

import re


class Unsure(Exception):  # noqa: N818 - a signal between the two readers, not an error
    """The text may or may not be YAML: ask the exact reader. `position` is about where."""

    position = 0


# Characters that YAML forbids, or that are line breaks to some readers and not to others.
ODD = re.compile(
    r"[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\r(?!\n)"
)
END = re.compile(r"[ \t]*(?:(?<=[ \t])#[^\n]*|\r?)(?:\n|\Z)")
GAP = re.compile(r"(?:[ ]*(?:#[^\n]*)?\r?\n)*[ ]*(?:#[^\n]*\Z)?")
KEY = re.compile(r"([A-Za-z0-9_$/(][\w.$/()+~^@-]*)[ ]*:(?=[ \t\r\n]|\Z)")
# The most usual line, at once: a plain key, a value on the same line, and how far the line after
# it is indented.
PAIR = re.compile(
    r"([A-Za-z_][\w./-]*):[ ]+"
    r"([A-Za-z0-9_./$(][^\s:#]*(?:(?::|[ ]+)[^\s:#]+)*|\"[^\"\\\r\n]*\"|'[^'\r\n]*')"
    r"[ ]*(\r?\n)([ ]*)(?=[A-Za-z_\"']|-[ ])"
)
ANY_KEY = re.compile(r"(?:[^\s\-?:,\[\]{}#&*!|>%@`\"']|[-?:](?=[^\s]))[^\r\n]*?:(?=[ \t\r\n]|\Z)")
DOUBLE = re.compile(
    r'"[^"\\]*(?:\\(?:["\\/abefnrtv0 \tNLP_\n]|\r\n'
    r"|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
    r'[^"\\]*)*"'
)
SINGLE = re.compile(r"'[^']*(?:''[^']*)*'")
COLON = re.compile(r"[ ]*:(?=[ \t\r\n]|\Z)")
LINE = re.compile(r"[^\r\n]*")
COMMENT = re.compile(r"[ \t]#")
INNER_COLON = re.compile(r":(?:[ \t]|\Z)")
HEADER = re.compile(r"[|>](?:([1-9])[+-]?|[+-]([1-9])?)?(?:[ \t]+#[^\n]*|[ \t]*\r?)(?:\n|\Z)")
FIRST = re.compile(r"((?:[ ]*\r?\n)*)([ ]*)(?=[^ \r\n])")
PROPERTY = re.compile(r"(?:&([^\s,\[\]{}]+)|!!?[\w.:/-]*)(?=[ \t\r\n]|\Z)")
LONG_TAG = re.compile(r"!\S{1000}")
ALIAS = re.compile(r"\*([^\s,\[\]{}]+)")
MARKER = re.compile(r"(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
MARKER_INSIDE = re.compile(r"\n(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
AFTER_DASH = frozenset(("", " ", "\n", "\r"))
SPACES = re.compile(r"[ \t]*")
FLOW_GAP = re.compile(r"(?:[ \t\r\n]+(?:#[^\n]*)?)*")
FLOW_PLAIN = re.compile(
    r"(?:[^\s\-?:,\[\]{}#&*!|>%@`\"']|-(?=[^\s,\[\]{}]))"
    r"[^\s:,\[\]{}]*(?:(?::|[ \t]+(?=[^\s#]))[^\s:,\[\]{}]+)*"
)
