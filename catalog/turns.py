"""Whose turn it is: a weighted fair queue a lane, in the catalog.

A message of the queue says that *a* build waits, and this says which one is next. Each tenant's
builds get turns that are 1/weight apart, and a tenant that had none waiting joins at the turn of
the build that was begun last: who asks for one build waits behind one build of each other, however
many those have asked for. This is start-time fair queueing (Goyal, Vin and Cheng, 1996), where
every build has the same cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, func, or_, select, text
from sqlalchemy.orm import Session

from catalog.build_models import Build, Lane
from catalog.states import ACTIVE, RUNNING, BuildState
from catalog.upsert import insert_missing

_TENANT_LOCK = 0x6B74
_ALL = Build.__table__
"""The table and not the class: whoever asks may see only some of what their tenant has waiting."""


def lock_tenant(session: Session, tenant: str) -> None:
    """Let what follows in this transaction be alone with the tenant.

    On SQLite every writer is alone.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(:kind, hashtext(:tenant))"),
            {"kind": _TENANT_LOCK, "tenant": tenant},
        )


def next_turn(session: Session, lane: str, tenant: str) -> float:
    """The turn that the tenant's next build in this lane gets; `lock_tenant` comes before."""
    behind = session.scalar(
        select(func.max(_ALL.c.turn + 1.0 / _ALL.c.weight)).where(
            _ALL.c.tenant == tenant, _ALL.c.lane == lane, _ALL.c.state.in_(ACTIVE)
        )
    )
    begun = session.scalar(select(Lane.turn).where(Lane.name == lane))
    return max(behind or 0.0, begun or 0.0)


def lock_lane(session: Session, name: str) -> Lane:
    """The lane, locked: other workers would find the same build, or one too many of a tenant's."""
    found = session.scalars(select(Lane).where(Lane.name == name).with_for_update()).one_or_none()
    if found is not None:
        return found
    insert_missing(session, Lane, [{"name": name, "turn": 0.0}])
    return lock_lane(session, name)


def first(session: Session, lane: Lane) -> str | None:
    """The queued build whose turn it is in a locked lane; None if none waits that may begin."""
    waiting = _waiting(lane.name).order_by(Build.turn, Build.id)
    found = session.execute(waiting.limit(1)).first()
    if found is None:
        return None
    lane.turn = max(lane.turn, found.turn)
    return str(found.id)


def lanes(session: Session) -> Sequence[str]:
    """The lanes in which builds wait."""
    return session.scalars(
        select(Build.lane).where(Build.state == BuildState.QUEUED).distinct().order_by(Build.lane)
    ).all()


def waiting(session: Session) -> Sequence[tuple[str, int, datetime]]:
    """The lanes in which builds wait: how many, and since when the oldest does."""
    rows = session.execute(
        select(_ALL.c.lane, func.count(), func.min(_ALL.c.queued_at))
        .where(_ALL.c.state == BuildState.QUEUED)
        .group_by(_ALL.c.lane)
        .order_by(_ALL.c.lane)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def running(session: Session) -> int:
    """How many builds are worked on."""
    return session.scalar(select(func.count()).where(_ALL.c.state.in_(RUNNING))) or 0


def waiting_lanes(session: Session, tenant: str) -> Sequence[str]:
    """The lanes in which builds of the tenant wait."""
    return session.scalars(
        select(Build.lane)
        .where(Build.tenant == tenant, Build.state == BuildState.QUEUED)
        .distinct()
    ).all()


def _waiting(lane: str) -> Select[str, float]:
    running = (
        select(Build.tenant, func.count().label("number"))
        .where(Build.state.in_(RUNNING))
        .group_by(Build.tenant)
        .subquery()
    )
    room: ColumnElement[bool] = or_(
        Build.concurrent.is_(None), func.coalesce(running.c.number, 0) < Build.concurrent
    )
    return (
        select(Build.id, Build.turn)
        .outerjoin(running, running.c.tenant == Build.tenant)
        .where(Build.state == BuildState.QUEUED, Build.lane == lane, room)
    )
