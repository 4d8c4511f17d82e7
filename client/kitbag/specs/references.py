"""`kitbag://` references: whole scalars that name an environment."""

from __future__ import annotations

import re

from ..refs import SCHEME
from .nodes import Node, Scalar, descend
from .source import Source

_MARKS = re.compile(r"\s|[{}$]")


def references(source: Source, root: Node) -> list[Scalar]:
    """The scalars of a document that are one `kitbag://` reference."""
    if "kitbag" not in source.text:
        return []
    return [
        node
        for node in descend(root)
        if isinstance(node, Scalar) and reference(node.text) is not None
    ]


def reference(text: str | None) -> str | None:
    """The reference that a whole scalar is, or None."""
    stripped = text.strip() if text else ""
    if stripped.startswith(SCHEME) and not _MARKS.search(stripped):
        return stripped
    return None
