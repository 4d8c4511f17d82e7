"""What the builds' routes do."""

from __future__ import annotations

import logging

from anyio import CapacityLimiter, move_on_after, to_thread
from sqlalchemy import Engine

from api.audit import subject
from api.auth.principal import Principal, Role
from api.builds.normal import NormalRequest, keys
from api.builds.schemas import BuildOut, BuildPage, EventOut, EventPage
from api.queue import Queue
from api.quotas.service import Allotments
from catalog import builds, events, names
from catalog.engine import reading, writing
from catalog.states import BuildState

log = logging.getLogger(__name__)
MAX_EVENTS = 1000
_TELL_TIMEOUT_S = 5.0


def submit(
    engine: Engine, who: Principal, request: NormalRequest, quotas: Allotments
) -> tuple[BuildOut, bool]:
    """The build that answers the request, committed, and whether it is a new one.

    A request that was asked before costs two queries and no write lock, and no quota. Raises
    ProblemError where `who` may not build, or not as much.
    """
    subject.note(request.environment)
    who.require(Role.USER, names.split(request.environment)[0])
    with reading(engine) as session:
        wanted = keys(session, request)
        found = builds.find(
            session,
            wanted.request_key,
            reuse=wanted.reuse,
            reuse_key=wanted.reuse_key,
            early_key=wanted.early_key,
        )
        if found is not None:
            subject.changed_nothing()
            return BuildOut.of(found), False
    return _create(engine, who, request, quotas)


def _create(
    engine: Engine, who: Principal, request: NormalRequest, quotas: Allotments
) -> tuple[BuildOut, bool]:
    namespace, _ = names.split(request.environment)
    with writing(engine) as session:
        # Asked for again: a worker may have made the base in between, which is part of the key.
        wanted = keys(session, request)
        build, created = builds.request_build(
            session,
            environment=request.environment,
            request=request.data,
            request_key=wanted.request_key,
            reuse_key=wanted.reuse_key,
            reuse=wanted.reuse,
            early_key=wanted.early_key,
            created_by=who.user,
            allowance=quotas.allowance(who, namespace),
            admit=quotas.admit(who, namespace),
        )
        shown = BuildOut.of(build)
    if not created:
        subject.changed_nothing()
    return shown, created


async def tell(queue: Queue, slots: CapacityLimiter, build_id: str) -> None:
    """Tell the queue of a committed build; if that fails the sweep tells it later.

    A queue that hangs may hold its few slots, not the threads that answer requests.
    """
    with move_on_after(_TELL_TIMEOUT_S):
        await to_thread.run_sync(_enqueue, queue, build_id, limiter=slots)


def _enqueue(queue: Queue, build_id: str) -> None:
    try:
        queue.enqueue_build(build_id)
    except Exception:
        log.warning(
            "build %s waits for the sweep: the queue did not take it", build_id, exc_info=True
        )


def get(engine: Engine, build_id: str) -> BuildOut:
    """One build; raises BuildNotFoundError."""
    with reading(engine) as session:
        return BuildOut.of(builds.get(session, build_id))


def head(engine: Engine, build_id: str) -> tuple[BuildState, int]:
    """The build's state and the number of its newest event; raises BuildNotFoundError."""
    with reading(engine) as session:
        build = builds.get(session, build_id)
        return build.state, build.last_seq


def page(
    engine: Engine,
    *,
    environment: str | None,
    state: BuildState | None,
    before: str | None,
    limit: int,
) -> BuildPage:
    """A page of builds; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        found = builds.listing(
            session, environment=environment, state=state, before=before, limit=limit + 1
        )
        items = [BuildOut.of(build, listed=True) for build in found[:limit]]
    return BuildPage(items=items, next=items[-1].id if len(found) > limit else None)


def cancel(engine: Engine, build_id: str) -> tuple[BuildOut, bool]:
    """The build, and whether it was cancelled before; raises BuildEndedError."""
    with reading(engine) as session:
        before = builds.get(session, build_id).state
    if before is BuildState.CANCELLED:
        return get(engine, build_id), True
    with writing(engine) as session:
        return BuildOut.of(builds.request_cancel(session, build_id)), False


def event_page(engine: Engine, build_id: str, after: int) -> EventPage:
    """The events behind number `after` that are there now; raises BuildNotFoundError."""
    with reading(engine) as session:
        builds.get(session, build_id)
        found = events.after(session, build_id, after, MAX_EVENTS)
        return EventPage(items=[EventOut.of(event) for event in found])
