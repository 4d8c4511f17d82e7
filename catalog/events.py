"""What builds told: an append-only list a build, numbered 1, 2, 3… in the order of commits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from catalog.build_models import Build, Event, EventKind
from catalog.errors import BuildNotFoundError
from catalog.states import BuildState
from catalog.text import storable
from catalog.types import utcnow

MAX_MESSAGE_CHARS = 16_384


def append(
    session: Session,
    build_id: str,
    kind: EventKind,
    message: str = "",
    *,
    phase: str = "",
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Add one event and number it; a longer message is cut. Raises BuildNotFoundError.

    Counting in the build's row makes later writers wait until this transaction ends, so a reader
    that has seen number n never finds a smaller one appear afterwards.
    """
    seq = session.execute(
        update(Build)
        .where(Build.id == build_id)
        .values(last_seq=Build.last_seq + 1)
        .returning(Build.last_seq)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if seq is None:
        raise BuildNotFoundError(
            f"There is no build {build_id!r}; check the id that `kitbag build` printed."
        )
    event = Event(
        build_id=build_id,
        seq=seq,
        at=utcnow(),
        kind=kind,
        phase=phase[:64],
        message=storable(message[:MAX_MESSAGE_CHARS]),
        data=storable(data or {}),
    )
    session.add(event)
    session.flush()
    return event


def after(session: Session, build_id: str, seq: int, limit: int = 1000) -> Sequence[Event]:
    """At most `limit` events numbered above `seq`, in order."""
    return session.scalars(
        select(Event)
        .where(Event.build_id == build_id, Event.seq > seq)
        .order_by(Event.seq)
        .limit(limit)
    ).all()


def heads(session: Session, build_ids: Collection[str]) -> dict[str, tuple[int, BuildState]]:
    """The number of the newest event and the state of each build that exists, in one query."""
    rows = session.execute(
        select(Build.id, Build.last_seq, Build.state).where(Build.id.in_(build_ids))
    )
    return {build_id: (seq, state) for build_id, seq, state in rows}
