"""Names of packages that fit what is being typed: those of this catalog, then well-known ones."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from catalog import packages
from catalog.engine import reading

LIMIT = 8
_SEPARATORS = re.compile(r"[-_.]+")


def names(engine: Engine, typed: str) -> list[str]:
    """At most LIMIT names that begin with `typed`, as PEP 503 writes them."""
    prefix = _SEPARATORS.sub("-", typed).lower()
    if not prefix.strip("-"):
        return []
    with reading(engine) as session:
        found = packages.beginning_with(session, prefix, LIMIT)
    more = (name for name in _popular() if name.startswith(prefix) and name not in found)
    return [*found, *more][:LIMIT]


@cache
def _popular() -> tuple[str, ...]:
    """Packages that many others depend on, so that a new server knows some names too."""
    text = (Path(__file__).parent / "popular.txt").read_text()
    return tuple(line for line in text.splitlines() if line)
