"""What forges are to hear of commits: kept until they took it, the newest state alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from catalog.hook_models import CommitState, CommitStatus, Hook
from catalog.text import storable
from catalog.types import utcnow
from catalog.upsert import insert_or_update


def tell(
    session: Session,
    hook: Hook,
    commit: str,
    state: CommitState,
    description: str,
    build_id: str | None,
) -> None:
    """Put down what the forge is to hear of a commit, if it is to hear anything."""
    if hook.status_secret is None:
        return
    insert_or_update(
        session,
        CommitStatus,
        {
            "hook_id": hook.id,
            "commit": commit,
            "state": state.value,
            "description": storable(description[:140]),
            "build_id": build_id,
            "sent": None,
            "attempts": 0,
            "next_at": utcnow(),
            "created_at": utcnow(),
        },
        key=("hook_id", "commit"),
        update=("state", "description", "build_id", "sent", "attempts", "next_at", "created_at"),
    )


def due(session: Session, limit: int, lease: timedelta) -> Sequence[CommitStatus]:
    """Statuses to send now; they are not due again for `lease`, so that one worker sends each."""
    now = utcnow()
    keys = session.execute(
        select(CommitStatus.hook_id, CommitStatus.commit)
        .where(CommitStatus.next_at <= now)
        .order_by(CommitStatus.next_at)
        .limit(limit)
    ).all()
    mine = []
    for hook_id, commit in keys:
        moved = session.execute(
            update(CommitStatus)
            .where(
                CommitStatus.hook_id == hook_id,
                CommitStatus.commit == commit,
                CommitStatus.next_at <= now,
            )
            .values(next_at=now + lease, attempts=CommitStatus.attempts + 1)
            .returning(CommitStatus.commit)
            .execution_options(synchronize_session=False)
        ).scalar_one_or_none()
        if moved is not None:
            mine.append(session.get_one(CommitStatus, (hook_id, commit), populate_existing=True))
    return mine


def sent(session: Session, row: CommitStatus) -> None:
    """The forge took it; a newer state that came meanwhile stays due."""
    _move(session, row, {"sent": row.state, "next_at": None})


def again(session: Session, row: CommitStatus, delay: timedelta | None) -> None:
    """It was not taken: due again after `delay`, or given up."""
    _move(session, row, {"next_at": None if delay is None else utcnow() + delay})


def has_due(session: Session) -> bool:
    """Whether `due` would find anything."""
    statement = select(CommitStatus.hook_id).where(CommitStatus.next_at <= utcnow())
    return session.scalar(statement.limit(1)) is not None


def _move(session: Session, row: CommitStatus, values: Mapping[str, Any]) -> None:
    session.execute(
        update(CommitStatus)
        .where(
            CommitStatus.hook_id == row.hook_id,
            CommitStatus.commit == row.commit,
            CommitStatus.state == row.state,
            CommitStatus.attempts == row.attempts,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
