"""Reads the `live` column of a table of kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lives import Effect, Live, When
from .nodes import Node, Scalar, Sequence, real

if TYPE_CHECKING:
    from .kinds_file import TableReader

Lives = dict[str, tuple[Live, ...]]
"""Rules by the names that rows use for them."""


def rules(reader: TableReader, node: Node | None, known: Lives) -> tuple[Live, ...]:
    """Rules, one rule, or the name of some of `known`; raises KindsError."""
    if node is None:
        return ()
    found = real(node)
    if isinstance(found, Scalar):
        name = reader.text(node)
        if name not in known:
            raise reader.bad(node, "'live' names one of the lives above, or is a list of rules")
        return known[name]
    items = found.items if isinstance(found, Sequence) else [node]
    return tuple(_rule(reader, item) for item in items)


def _rule(reader: TableReader, node: Node) -> Live:
    found = reader.mapping(node, {"change", "when", "say", "clone", "drop"})
    words = {effect.value: effect for effect in Effect}
    change = reader.text(found["change"]) if "change" in found else ""
    if change not in words:
        raise reader.bad(node, f"a rule needs 'change': one of {', '.join(words)}")
    clone = reader.text(found["clone"]) if "clone" in found else "false"
    if clone not in ("true", "false"):
        raise reader.bad(found["clone"], "'clone' is true or false")
    return Live(
        words[change],
        when=tuple(_when(reader, item) for item in reader.items(found.get("when"))),
        say=reader.text(found["say"]) if "say" in found else "",
        clone=clone == "true",
        drop=tuple(reader.path(item) for item in reader.items(found.get("drop"))),
    )


def _when(reader: TableReader, node: Node) -> When:
    found = reader.mapping(node, {"at", "is", "only", "no-pods"})
    if ("at" in found) == ("no-pods" in found) or len(found) > (2 if "at" in found else 1):
        raise reader.bad(node, "a condition is 'at', perhaps with 'is' or 'only', or 'no-pods'")
    if "no-pods" in found:
        return When(no_pods=reader.text(found["no-pods"]))
    return When(
        reader.path(found["at"]), reader.texts(found.get("is")), reader.texts(found.get("only"))
    )
