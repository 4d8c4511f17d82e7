"""What a request may choose about the packages, beside the files of its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class IndexStrategy(StrEnum):
    """How versions are chosen where several indexes have a package: uv's --index-strategy."""

    FIRST_INDEX = "first-index"
    UNSAFE_FIRST_MATCH = "unsafe-first-match"
    UNSAFE_BEST_MATCH = "unsafe-best-match"


@dataclass(frozen=True, slots=True)
class Choices:
    """Extras and groups of a project, indexes, and the day after which releases don't count.

    `indexes` are tried in this order before those of the source and of the server; `default_index`
    replaces the last one tried. `index_strategy` None means the server's. `exclude_newer` is an RFC
    3339 time: files uploaded then or later are not taken.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    default_index: str | None = None
    index_strategy: IndexStrategy | None = None
    exclude_newer: str | None = None
