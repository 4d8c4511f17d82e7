"""Text to nodes: the fast reader first, the exact one where the fast one is not sure."""

from __future__ import annotations

import re

from .compose import compose
from .errors import InvalidYamlError, TemplateError, TooBigError
from .nodes import Keep, Node
from .scan import scan
from .source import Source
from .tokens import Unsure

# What Helm, Go templates, Jinja and ERB write outside quotes; Argo's {{…}} inside scalars is text.
_TEMPLATE = re.compile(r"\{\{|\{%|<%|^[ \t]*%\s|\$\{\{", re.MULTILINE)
# The exact reader reads some 100 KB a second: more than this would take minutes.
EXACT_CHARS = 2_000_000
_MAYBE_ALIAS = re.compile(r"(?:^|[\s\[{,])\*[^\s,\[\]{}]", re.MULTILINE)
_IN_COMMENT = re.compile(r"[ \t]*#")


def read(source: Source, keep: Keep | None = None) -> list[Node]:
    """The root node of every document of a file, in order.

    `keep` names the keys that will be asked for; others may be left out, unless the text has
    aliases or `kitbag` references, which are looked for everywhere.

    Raises InvalidYamlError, TemplateError, DuplicateKeyError, TooDeepError, TooBigError and, for an
    alias inside its own anchor, AliasError.
    """
    try:
        everything = "kitbag" in source.text or _MAYBE_ALIAS.search(source.text)
        return _roots(source, None if everything else keep)
    except InvalidYamlError as error:
        position = _template(source, error.line)
        if position is not None:
            raise not_yaml_yet(source, position) from None
        raise


def _roots(source: Source, keep: Keep | None) -> list[Node]:
    try:
        return scan(source, keep)
    except Unsure as unsure:
        if len(source.text) > EXACT_CHARS:
            raise TooBigError(
                source.filename,
                source.line(unsure.position),
                "this is not the plain YAML that a file this big must be (no tabs, no directives,"
                " no '?' keys); simplify it here or split the file",
            ) from None
        return compose(source)


def _template(source: Source, line: int) -> int | None:
    """The template's mark on a line, or the last one before it, or the first one after it."""
    text = source.text
    before = None
    for match in _TEMPLATE.finditer(text):
        mark = match.start()
        if _IN_COMMENT.match(text, text.rfind("\n", 0, mark) + 1):
            continue
        if source.line(mark) >= line:
            return mark if source.line(mark) == line or before is None else before
        before = mark
    return before


def not_yaml_yet(source: Source, position: int) -> TemplateError:
    """The error for a template's mark at a position."""
    start = source.text.rfind("\n", 0, position) + 1
    line = source.text[start : start + 400].split("\n", 1)[0].strip()
    shown = line if len(line) <= 80 else line[:77] + "..."
    return TemplateError(
        source.filename,
        source.line(position),
        f"this is a template and not YAML yet ({shown}); render it first and pin the result",
    )
