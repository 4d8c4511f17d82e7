"""What a worker does with a build, from claim to end, and what a sweep does for a dead one.

Every step is one compare-and-set on the build's row. `attempt`, as `claim` returned it, fences off
a worker that was taken for dead: its steps raise LostBuildError once the build was handed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from catalog import builds, events, turns, versions
from catalog.build_models import ENGINE, LAYERED, Build, EventKind
from catalog.errors import CancelRequestedError, IllegalTransitionError, LostBuildError
from catalog.models import Json, Version
from catalog.states import RUNNING, BuildState, allowed, sources
from catalog.text import storable
from catalog.types import ago, shared_now, utcnow
from catalog.versions import VersionFacts


def claim(session: Session, build_id: str, worker: str) -> Build | None:
    """Take a queued build for this worker; None if it isn't queued (any more), or doesn't exist."""
    now = utcnow()
    claimed = session.execute(
        update(Build)
        .where(Build.id == build_id, Build.state == BuildState.QUEUED)
        .values(
            state=BuildState.RESOLVING,
            worker=worker,
            heartbeat_at=shared_now(session),
            started_at=func.coalesce(Build.started_at, now),
        )
        .returning(Build.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if claimed is None:
        return None
    _tell_state(session, build_id, BuildState.RESOLVING)
    return builds.get(session, build_id)


def take(session: Session, lane: str, worker: str) -> Build | None:
    """Take the build of this lane whose turn it is; None if none waits that may begin."""
    locked = turns.lock_lane(session, lane)
    while (build_id := turns.first(session, locked)) is not None:
        taken = claim(session, build_id, worker)
        if taken is not None:  # else it was cancelled in this moment
            return taken
    return None


def transition(
    session: Session,
    build_id: str,
    after: BuildState,
    *,
    attempt: int,
    way: str | None = None,
    commit: str | None = None,
) -> Build:
    """Go on to the next phase, noting the way and the commit once they are known.

    Raises IllegalTransitionError, LostBuildError, BuildNotFoundError.
    """
    if after not in RUNNING:
        raise IllegalTransitionError(f"A build is not made {after} by a transition; finish it.")
    facts = {name: value for name, value in (("way", way), ("commit", commit)) if value}
    _move(session, build_id, after, attempt, {"heartbeat_at": shared_now(session)} | facts)
    _tell_state(session, build_id, after)
    return builds.get(session, build_id)


def heartbeat(session: Session, build_id: str, *, attempt: int) -> bool:
    """Say that the worker lives; whether somebody asked to cancel. Raises LostBuildError."""
    row = session.execute(
        update(Build)
        .where(Build.id == build_id, Build.attempt == attempt, Build.state.in_(RUNNING))
        .values(heartbeat_at=shared_now(session))
        .returning(Build.cancel_requested_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        raise LostBuildError(
            f"The build {build_id} is no longer this worker's; stop working on it."
        )
    return row[0] is not None


def finish_ready(
    session: Session,
    build_id: str,
    facts: VersionFacts,
    *,
    attempt: int,
    way: str | None = None,
    stats: Mapping[str, Any] | None = None,
) -> Version:
    """Add the version, move its branches, end the build and tell it, all in this transaction.

    Doing it again returns the version that is there, so a task delivered twice does no harm. Raises
    CancelRequestedError: whoever was told that the build is being cancelled never sees it ready.
    """
    build = builds.get(session, build_id)
    if build.state is BuildState.READY and build.digest == facts.digest:
        return versions.find(session, build.environment.full_name, str(build.version))
    values: dict[str, Any] = {
        "image": facts.image,
        "digest": facts.digest,
        "stats": None if stats is None else storable(stats),
        "error": None,
        "stored_bytes": int((stats or {}).get("bytes_moved") or 0),
    }
    values |= {name: value for name, value in (("way", way), ("commit", facts.commit)) if value}
    _end(session, build_id, BuildState.READY, attempt, values)
    # Read by the transaction that wrote the row, so that no request comes between.
    if builds.get(session, build_id).cancel_requested_at is not None:
        raise CancelRequestedError(f"The build {build_id} is to be cancelled; end it so.")
    version = versions.add(
        session,
        build.environment_id,
        facts,
        request=build.request,
        request_key=build.reuse_key,
        build_id=build_id,
        created_by=build.created_by,
    )
    session.execute(
        update(Build)
        .where(Build.id == build_id)
        .values(version=version.number)
        .execution_options(synchronize_session=False)
    )
    _tell_done(
        session,
        build_id,
        f"Version {version.number} is ready.",
        BuildState.READY,
        image=facts.image,
        version=version.number,
    )
    return version


def finish_failed(session: Session, build_id: str, problem: Json, *, attempt: int) -> Build:
    """End the build with a problem (RFC 9457, with at least `type` and `detail`)."""
    error = storable(problem)
    _end(session, build_id, BuildState.FAILED, attempt, {"error": error})
    detail = str(error.get("detail", ""))
    _tell_done(session, build_id, detail, BuildState.FAILED, error=error)
    return builds.get(session, build_id)


def finish_cancelled(session: Session, build_id: str, *, attempt: int) -> Build:
    """End the build because somebody asked to cancel it."""
    _end(session, build_id, BuildState.CANCELLED, attempt, {})
    _tell_done(session, build_id, "Cancelled.", BuildState.CANCELLED)
    return builds.get(session, build_id)


def stale(session: Session, older_than: timedelta, *, limit: int = 100) -> Sequence[Build]:
    """Running builds whose worker gave no sign of life for that long, the oldest first."""
    return session.scalars(
        select(Build)
        .where(Build.state.in_(RUNNING), Build.heartbeat_at < ago(session, older_than))
        .order_by(Build.id)
        .limit(limit)
    ).all()


def queued_longer_than(
    session: Session, age: timedelta, lane: str = LAYERED, *, limit: int = 100
) -> Sequence[Build]:
    """Builds of a lane that waited that long, as their turns come; the queue may not know them."""
    return session.scalars(
        select(Build)
        .where(
            Build.state == BuildState.QUEUED,
            Build.lane == lane,
            Build.queued_at < ago(session, age),
        )
        .order_by(Build.turn, Build.id)
        .limit(limit)
    ).all()


def requeue(session: Session, build_id: str, *, attempt: int) -> Build | None:
    """Put back a build that its worker left, as the next attempt; None if somebody else just did.

    A build that was to be cancelled is cancelled instead, so look at the state before enqueueing.
    """
    build = builds.get(session, build_id)
    if build.state not in RUNNING or build.attempt != attempt:
        return None
    try:
        if build.cancel_requested_at is not None:
            return finish_cancelled(session, build_id, attempt=attempt)
        values: dict[str, Any] = {
            "attempt": attempt + 1,
            "worker": None,
            "heartbeat_at": None,
            "queued_at": shared_now(session),
        }
        _move(session, build_id, BuildState.QUEUED, attempt, values)
    except (IllegalTransitionError, LostBuildError):
        return None
    events.append(
        session,
        build_id,
        EventKind.STATE,
        "The worker stopped answering; the build is queued again.",
        data={"state": BuildState.QUEUED, "attempt": attempt + 1},
    )
    return builds.get(session, build_id)


def hand_on(session: Session, build_id: str, *, attempt: int, way: str, lane: str = ENGINE) -> bool:
    """Queue a build in the lane of another kind of worker, noting the way; whether it waits now.

    It is no new attempt: nothing went wrong. One that was to be cancelled is cancelled instead.
    """
    build = builds.get(session, build_id)
    if build.cancel_requested_at is not None:
        finish_cancelled(session, build_id, attempt=attempt)
        return False
    turns.lock_tenant(session, build.tenant)
    turn = turns.next_turn(session, lane, build.tenant)
    place: dict[str, Any] = {"lane": lane, "turn": turn, "queued_at": shared_now(session)}
    values = {"worker": None, "heartbeat_at": None, "way": way} | place
    _move(session, build_id, BuildState.QUEUED, attempt, values)
    events.append(
        session,
        build_id,
        EventKind.STATE,
        "Waiting for a worker with a container engine.",
        data={"state": BuildState.QUEUED, "attempt": attempt},
    )
    return True


def _move(
    session: Session, build_id: str, after: BuildState, attempt: int, values: Mapping[str, Any]
) -> None:
    moved = session.execute(
        update(Build)
        .where(
            Build.id == build_id,
            Build.attempt == attempt,
            Build.state.in_(sources(after)),
        )
        .values(state=after, **values)
        .returning(Build.id)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if moved is not None:
        return
    build = builds.get(session, build_id)
    if build.attempt == attempt and not allowed(build.state, after):
        raise IllegalTransitionError(f"The build {build_id} is {build.state} and can't be {after}.")
    raise LostBuildError(f"The build {build_id} was handed to attempt {build.attempt}; stop.")


def _end(
    session: Session, build_id: str, after: BuildState, attempt: int, values: Mapping[str, Any]
) -> None:
    ended_at: datetime = utcnow()
    _move(session, build_id, after, attempt, {"ended_at": ended_at} | dict(values))


def _tell_state(session: Session, build_id: str, state: BuildState) -> None:
    events.append(
        session, build_id, EventKind.STATE, f"{state.capitalize()}.", data={"state": state}
    )


def _tell_done(
    session: Session,
    build_id: str,
    message: str,
    state: BuildState,
    *,
    image: str | None = None,
    version: int | None = None,
    error: Json | None = None,
) -> None:
    data = {"state": state, "image": image, "version": version, "error": error}
    events.append(session, build_id, EventKind.DONE, message, data=data)
