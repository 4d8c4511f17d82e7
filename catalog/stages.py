"""The images that builds alone build on: noted before a store has one, forgotten once it hasn't."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from catalog.build_models import Build
from catalog.errors import LostBuildError
from catalog.states import ENDED, RUNNING


def note(session: Session, build_id: str, digest: str, *, attempt: int) -> None:
    """Note the image that this attempt is about to put into the store. Raises LostBuildError."""
    noted = session.execute(
        update(Build)
        .where(Build.id == build_id, Build.attempt == attempt, Build.state.in_(RUNNING))
        .values(stage=digest)
        .returning(Build.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if noted is None:
        raise LostBuildError(
            f"The build {build_id} is no longer this worker's; stop working on it."
        )


def left(session: Session, *, limit: int = 100) -> Sequence[Build]:
    """Ended builds whose image may still be in the store, the oldest first."""
    return session.scalars(
        select(Build)
        .where(Build.stage.is_not(None), Build.state.in_(ENDED))
        .order_by(Build.id)
        .limit(limit)
    ).all()


def forget(session: Session, build_id: str, digest: str) -> None:
    """Forget an image that the store hasn't any more; nothing if another one was noted since."""
    session.execute(
        update(Build)
        .where(Build.id == build_id, Build.stage == digest)
        .values(stage=None)
        .execution_options(synchronize_session=False)
    )
