"""What the packages' routes do."""

from __future__ import annotations

from sqlalchemy import Engine

from api.packages.schemas import HolderOut, HolderPage
from catalog import holders
from catalog.engine import reading


def holding(
    engine: Engine, requirement: str, *, every: bool, after: str | None, limit: int
) -> HolderPage:
    """A page of the versions that hold it; raises InvalidRequirementError."""
    cursor: tuple[str, int] | None = None
    if after is not None:
        name, _, number = after.rpartition(":")
        cursor = name, int(number)
    with reading(engine) as session:
        found = holders.holding(session, requirement, every=every, after=cursor, limit=limit)
    last = found.items[-1] if found.more else None
    return HolderPage(
        requirement=requirement,
        total=found.total,
        items=[HolderOut.of(item) for item in found.items],
        next=None if last is None else f"{last.environment}:{last.number}",
    )
