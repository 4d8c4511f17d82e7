"""What a tenant uses, in all namespaces: whoever asks may see only some of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import Session

from catalog.build_models import Build
from catalog.models import Version
from catalog.states import RUNNING, BuildState
from catalog.types import utcnow

DAY = timedelta(hours=24)
_BUILDS = Build.__table__
_VERSIONS = Version.__table__


@dataclass(frozen=True, slots=True)
class Usage:
    """Builds at work, waiting, and asked for within 24 hours; bytes that they added and that stay.

    What was in the store already counts for whoever brought it.
    """

    running: int
    waiting: int
    builds_today: int
    stored_bytes: int


def of(session: Session, tenant: str) -> Usage:
    """All that the tenant uses."""
    states = session.execute(
        select(_BUILDS.c.state, func.count())
        .where(_own(tenant), _BUILDS.c.state.in_([*RUNNING, BuildState.QUEUED]))
        .group_by(_BUILDS.c.state)
    )
    counts = {row[0]: row[1] for row in states}
    return Usage(
        running=sum(counts.get(state, 0) for state in RUNNING),
        waiting=counts.get(BuildState.QUEUED, 0),
        builds_today=builds_today(session, tenant),
        stored_bytes=stored_bytes(session, tenant),
    )


def builds_today(session: Session, tenant: str) -> int:
    """Builds that the tenant asked for within the last 24 hours."""
    return session.scalar(select(func.count()).where(*_today(tenant))) or 0


def room_at(session: Session, tenant: str, limit: int) -> datetime | None:
    """When fewer than `limit` of the tenant's builds are of the last 24 hours; None if now."""
    newest = select(_BUILDS.c.created_at).where(*_today(tenant))
    newest = newest.order_by(_BUILDS.c.created_at.desc()).offset(max(limit, 1) - 1).limit(1)
    last: datetime | None = session.scalar(newest)
    if last is None:
        return None if limit else utcnow() + DAY
    return last + DAY


def stored_bytes(session: Session, tenant: str) -> int:
    """What the tenant's builds added to the store, of which there still are versions."""
    kept = exists().where(_VERSIONS.c.build_id == _BUILDS.c.id)
    # Most builds add something, so the index of the tenant's builds is all there is to use.
    total = select(func.sum(_BUILDS.c.stored_bytes)).where(
        _own(tenant), _BUILDS.c.stored_bytes > 0, kept
    )
    return int(session.scalar(total) or 0)


def _own(tenant: str) -> ColumnElement[bool]:
    return _BUILDS.c.tenant == tenant


def _today(tenant: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _own(tenant), _BUILDS.c.created_at > utcnow() - DAY
