"""One build's life in the catalog: taken, worked on under a heartbeat, and ended, once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from builder.errors import BuildError, CancelledError
from builder.model import Way
from catalog import builds, runs, turns
from catalog.build_models import ENGINE, LAYERED, Build
from catalog.engine import reading, writing
from catalog.errors import (
    BuildNotFoundError,
    CancelRequestedError,
    IllegalTransitionError,
    LostBuildError,
)
from catalog.states import ENDED, RUNNING, BuildState
from catalog.types import utcnow
from telemetry import context, tracing
from worker import binder, identity, leftovers, stages
from worker.allowed import Allowed
from worker.app import enqueue_build
from worker.finished import Finished
from worker.heartbeat import Heartbeat
from worker.patience import away, patiently
from worker.phases import Phases, timed
from worker.problems import problem_of, surprise, unreadable
from worker.reporter import Reporter
from worker.request import parse
from worker.run import run
from worker.services import Services
from worker.tally import Tally

log = logging.getLogger(__name__)

_AMOUNTS = {
    "bytes_moved": ("kitbag_build_bytes", "store"),
    "bytes_downloaded": ("kitbag_build_bytes", "worker"),
    "layers_known": ("kitbag_build_layers", "hit"),
    "layers_new": ("kitbag_build_layers", "miss"),
}
"""What a build's facts are counted as."""


def build(kit: Services, build_id: str, lane: str = LAYERED) -> None:
    """Build whatever has its turn in the lane; does nothing if no build waits there.

    `build_id` is the build because of which the queue sent for a worker: as many come as builds
    wait, so that each of them has its turn. The process that had it may be dead: then it waits.
    """
    row = _take(kit, build_id, lane)
    if row is None:
        return
    tracing.passed(
        "queue",
        {"kitbag.lane": row.lane},
        began=row.queued_at,
        ended=utcnow(),
        parent=row.traceparent,
    )
    with (
        context.about(build=row.id, request=row.request_id),
        tracing.span(
            "build",
            {
                "kitbag.build": row.id,
                "kitbag.environment": row.environment.full_name,
                "kitbag.attempt": row.attempt,
            },
            parent=row.traceparent,
            kind="consumer",
        ),
        timed() as phases,
    ):
        _build(kit, row, phases)
    _count(kit, row, phases)


def _build(kit: Services, row: Build, phases: Phases) -> None:
    log.info("build %s attempt %s begins", row.id, row.attempt)
    began = time.monotonic()
    with Heartbeat(kit, row.id, row.attempt) as heartbeat:
        end = _worked(kit, row, heartbeat, phases)
        if end is None:
            log.warning("build %s is left by this worker", row.id)
            return
        try:
            patiently(end)
        except (LostBuildError, IllegalTransitionError):
            return  # it ended, or belongs to somebody else
        except SQLAlchemyError:
            log.exception("build %s: its end can't be written; it will be built again", row.id)
            return
    log.info("build %s ended after %.1f s", row.id, time.monotonic() - began)
    _make_room(kit, row)
    stages.drop(kit, row.id)


def _count(kit: Services, row: Build, phases: Phases) -> None:
    """Tell how long it waited and took, what it moved, and how it ended, if it did here."""
    try:
        with reading(kit.engine) as session:
            ended = builds.get(session, row.id)
    except (SQLAlchemyError, BuildNotFoundError):
        return
    tally = Tally()
    if row.attempt == 1 and row.started_at is not None:
        waited_s = (row.started_at - row.created_at).total_seconds()
        tally.observe("kitbag_build_queue_seconds", row.lane, value=waited_s)
    for phase, took_s in phases.seconds.items():
        tally.observe("kitbag_build_phase_seconds", phase, value=took_s)
    if ended.attempt == row.attempt and ended.state in ENDED:
        reason = str((ended.error or {}).get("type", ""))
        tally.count("kitbag_builds_ended", ended.way or "", ended.state, reason)
        for name, labels in _AMOUNTS.items():
            amount = (ended.stats or {}).get(name) or 0
            tally.count(*labels, amount=float(amount))
    tally.send(kit.settings.broker_url)


def _make_room(kit: Services, row: Build) -> None:
    """Send for a worker in place of one that found only builds which had to wait for this one."""
    if row.concurrent is None:
        return
    try:
        with reading(kit.engine) as session:
            lanes = turns.waiting_lanes(session, row.tenant)
        for lane in lanes:
            enqueue_build(row.id, lane)
    except Exception:  # the build has ended; the sweep sends for workers too
        log.warning("the builds of %s wait for the sweep", row.tenant, exc_info=True)


def _take(kit: Services, build_id: str, lane: str) -> Build | None:
    """The build whose turn it is, now this process's.

    The queue brings a killed process's message back at once: what that had waits again then, since
    its lease need not run out.
    """

    def take() -> tuple[Build | None, Build | None]:
        with writing(kit.engine) as session:
            held = session.get(Build, build_id)
            if held is not None and held.state in RUNNING and identity.is_dead(held.worker):
                return None, held
            return runs.take(session, lane, identity.me()), None

    row, left = patiently(take)
    if left is not None:
        leftovers.requeue(kit, left)
        row, _ = patiently(take)
    return row


def _worked(
    kit: Services, row: Build, heartbeat: Heartbeat, phases: Phases
) -> Callable[[], None] | None:
    """Do the work; returns what writes its end, or None for a build that somebody else will end.

    That is one that was handed on, or whose state the catalog is away too long to be told: then its
    lease runs out, and it is built again from what the cache holds.
    """
    try:
        with Reporter(kit.engine, row.id) as report:
            finished = _run(kit, row, heartbeat, report, phases)
    except LostBuildError:
        return None
    except binder.ElsewhereError:
        return lambda: _handed_on(kit, row)
    except CancelledError:
        return None if heartbeat.lost else lambda: _cancelled(kit, row)
    except BuildError as error:
        problem = problem_of(error)
    except ValidationError:
        problem = unreadable()
    except SQLAlchemyError as error:
        if away(error):
            return None
        log.exception("build %s failed unexpectedly", row.id)
        problem = surprise(row.id)
    except Exception:  # whatever it is, the build must end and say so
        log.exception("build %s failed unexpectedly", row.id)
        problem = surprise(row.id)
    else:
        return lambda: _ready(kit, row, finished)
    return lambda: _failed(kit, row, problem)


def _run(
    kit: Services, row: Build, heartbeat: Heartbeat, report: Reporter, phases: Phases
) -> Finished:
    phases.begin(BuildState.RESOLVING)

    def advance(state: BuildState, *, way: str | None = None, commit: str | None = None) -> None:
        def move() -> None:
            with writing(kit.engine) as session:
                held = builds.get(session, row.id)
                if (held.state, held.attempt) == (state, row.attempt):
                    return  # the answer to the commit before was lost
                runs.transition(session, row.id, state, attempt=row.attempt, way=way, commit=commit)

        report.flush()
        patiently(move)
        phases.begin(state)

    own = {"environment": row.environment.full_name, "requested_by": row.created_by}
    request = parse({**row.request, **own})
    staging = stages.noting(kit, row)
    allowed = Allowed.of(row)
    return run(kit, request, advance, heartbeat, report, row.id, staging, allowed)


def _ready(kit: Services, row: Build, finished: Finished) -> None:
    try:
        with writing(kit.engine) as session:
            runs.finish_ready(
                session,
                row.id,
                finished.facts,
                attempt=row.attempt,
                way=finished.way,
                stats=finished.stats,
            )
    except CancelRequestedError:
        _cancelled(kit, row)


def _handed_on(kit: Services, row: Build) -> None:
    """Queue the build for a worker with an engine; the sweep tells them if this message is lost."""
    with writing(kit.engine) as session:
        moved = runs.hand_on(session, row.id, attempt=row.attempt, way=Way.BINDER)
    if moved:
        enqueue_build(row.id, ENGINE)


def _failed(kit: Services, row: Build, problem: Mapping[str, Any]) -> None:
    with writing(kit.engine) as session:
        runs.finish_failed(session, row.id, dict(problem), attempt=row.attempt)


def _cancelled(kit: Services, row: Build) -> None:
    with writing(kit.engine) as session:
        runs.finish_cancelled(session, row.id, attempt=row.attempt)
