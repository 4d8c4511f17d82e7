"""Mirrors: every version is copied to each target, and named there once all of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session, aliased

from catalog import targets
from catalog.errors import LostMirrorError, NotMirroredError
from catalog.models import Version
from catalog.target_models import Mirror, MirrorState, Target
from catalog.text import storable
from catalog.types import utcnow
from catalog.upsert import insert_missing


@dataclass(frozen=True, slots=True)
class Near:
    """What a version is at a target: for each accelerator a reference there, the default first."""

    version: Version
    target: Target
    references: dict[str, str]

    def named(self, reference: str) -> str:
        """The same digest of the version's environment in the target's registry."""
        return _named(self.version, self.target, reference.rpartition("@")[2])


def plan(session: Session, version: Version) -> None:
    """Plan the copies of a new version, with the version's own commit."""
    namespace = version.environment.namespace
    want(session, version, targets.listing(session, namespace))


def plan_newest(session: Session, target: Target) -> None:
    """Plan the copies of what is latest now, for a target that was added."""
    for version in session.scalars(targets.newest(target)).all():
        want(session, version, [target])


def want(session: Session, version: Version, places: Sequence[Target]) -> None:
    """Plan the copies of a version to some targets, where they aren't planned."""
    now = utcnow()
    insert_missing(
        session,
        Mirror,
        [
            {
                "target_id": target.id,
                "version_id": version.id,
                "state": MirrorState.PENDING,
                "due_at": now,
                "tries": 0,
                "attempt": 0,
                "problem": "",
                "copied_bytes": 0,
                "created_at": now,
            }
            for target in places
        ],
    )


def near(session: Session, version: Version, name: str) -> Near:
    """What the version is at the target of that name.

    Raises TargetNotFoundError, and NotMirroredError unless all of it is there.
    """
    full_name = version.environment.full_name
    target = targets.find(session, version.environment.namespace, name)
    mirror = session.scalars(
        select(Mirror).where(Mirror.target_id == target.id, Mirror.version_id == version.id)
    ).one_or_none()
    if mirror is None or mirror.state is not MirrorState.DONE:
        why = "it is being copied"
        if mirror is not None and mirror.problem:
            why = f"the last try to copy it failed ({mirror.problem.rstrip('.')[:500]})"
        raise NotMirroredError(
            f"{full_name}:{version.number} is not in {target.prefix}, the registry of {name}, yet: "
            f"{why}; ask again in a while.",
            planned=mirror is not None,
        )
    return Near(version, target, _references(version, target))


def _references(version: Version, target: Target) -> dict[str, str]:
    found: dict[str, str] = {}
    for image in version.images:
        digest = image.index_digest or image.digest
        found.setdefault(image.accelerator, _named(version, target, digest))
    preferred = target.accelerator
    if preferred is not None and preferred in found:
        return {preferred: found[preferred]} | found
    return found


def _named(version: Version, target: Target, digest: str) -> str:
    return f"{target.prefix}/{version.environment.full_name}@{digest}"


def of_version(session: Session, version: Version) -> Sequence[Mirror]:
    """The copies of a version that are there or planned, by target."""
    return session.scalars(
        select(Mirror)
        .join(Target, Target.id == Mirror.target_id)
        .where(Mirror.version_id == version.id)
        .order_by(Target.name, Target.namespace)
    ).all()


def due(session: Session, *, limit: int = 100) -> Sequence[int]:
    """Copies that somebody may begin now, those of the newest versions first."""
    return session.scalars(
        select(Mirror.id)
        .where(_may_begin())
        .order_by(Mirror.tries, Mirror.version_id.desc(), Mirror.id)
        .limit(limit)
    ).all()


def copying(session: Session) -> Sequence[tuple[int, str | None]]:
    """The copies that are being made, with who makes them."""
    rows = session.execute(
        select(Mirror.id, Mirror.worker).where(Mirror.state == MirrorState.COPYING)
    )
    return [(row[0], row[1]) for row in rows]


def release(session: Session, mirror_id: int, worker: str) -> None:
    """Let go of the copy of a worker that is known to be dead."""
    session.execute(
        update(Mirror)
        .where(Mirror.id == mirror_id, Mirror.worker == worker, Mirror.state == MirrorState.COPYING)
        .values(state=MirrorState.PENDING, worker=None, due_at=utcnow())
        .execution_options(synchronize_session=False)
    )


def claim(session: Session, mirror_id: int, worker: str, lease: timedelta) -> Mirror | None:
    """Take a copy that may begin; None if somebody else copies it, or another to that target."""
    taken = session.execute(
        update(Mirror)
        .where(Mirror.id == mirror_id, _may_begin())
        .values(
            state=MirrorState.COPYING,
            attempt=Mirror.attempt + 1,
            worker=worker,
            due_at=utcnow() + lease,
        )
        .returning(Mirror.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return None if taken is None else session.get_one(Mirror, taken, populate_existing=True)


def beat(
    session: Session, mirror_id: int, attempt: int, lease: timedelta, moved_bytes: int = 0
) -> None:
    """Say that the worker lives, and what it moved since; raises LostMirrorError if it lost it."""
    found = session.execute(
        update(Mirror)
        .where(
            Mirror.id == mirror_id,
            Mirror.attempt == attempt,
            Mirror.state == MirrorState.COPYING,
        )
        .values(due_at=utcnow() + lease, copied_bytes=Mirror.copied_bytes + moved_bytes)
        .returning(Mirror.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if found is None:
        raise LostMirrorError(f"The copy {mirror_id} is no longer this worker's; stop making it.")


def finish(
    session: Session,
    mirror_id: int,
    attempt: int,
    *,
    again_in: timedelta | None = None,
    problem: str = "",
    moved_bytes: int = 0,
) -> None:
    """All is there, or is to be tried again later; raises LostMirrorError."""
    beat(session, mirror_id, attempt, timedelta(), moved_bytes)
    now = utcnow()
    values: dict[str, object] = {"worker": None, "problem": storable(problem)}
    if again_in is None:
        values |= {"state": MirrorState.DONE, "done_at": now}
    else:
        values |= {
            "state": MirrorState.PENDING,
            "due_at": now + again_in,
            "tries": Mirror.tries + 1,
        }
    session.execute(
        update(Mirror)
        .where(Mirror.id == mirror_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def _may_begin() -> ColumnElement[bool]:
    """Due, or left by whoever had it; and no other copy to the target is being made."""
    now = utcnow()
    other = aliased(Mirror)
    sibling = exists(
        select(other.id).where(
            other.target_id == Mirror.target_id,
            other.id != Mirror.id,
            other.state == MirrorState.COPYING,
            other.due_at > now,
        )
    )
    return (Mirror.state != MirrorState.DONE) & (Mirror.due_at <= now) & ~sibling
