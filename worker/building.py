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
from catalog import builds, runs
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.errors import (
    BuildNotFoundError,
    CancelRequestedError,
    IllegalTransitionError,
    LostBuildError,
)
from catalog.states import RUNNING, BuildState
from worker import binder, identity, leftovers
from worker.app import enqueue_for_engine
from worker.finished import Finished
from worker.heartbeat import Heartbeat
from worker.patience import away, patiently
from worker.problems import problem_of, surprise, unreadable
from worker.reporter import Reporter
from worker.request import parse
from worker.run import run
from worker.services import Services

log = logging.getLogger(__name__)


def build(kit: Services, build_id: str) -> None:
    """Build what a queued row asks for; does nothing if another worker has it."""
    row = _take(kit, build_id)
    if row is None:
        return
    log.info("build %s attempt %s begins", build_id, row.attempt)
    began = time.monotonic()
    with Heartbeat(kit, build_id, row.attempt) as heartbeat:
        end = _worked(kit, row, heartbeat)
        if end is None:
            log.warning("build %s is left by this worker", build_id)
            return
        try:
            patiently(end)
        except (LostBuildError, IllegalTransitionError):
            return  # it ended, or belongs to somebody else
        except SQLAlchemyError:
            log.exception("build %s: its end can't be written; it will be built again", build_id)
            return
    log.info("build %s ended after %.1f s", build_id, time.monotonic() - began)


def _take(kit: Services, build_id: str) -> Build | None:
    """The build, now this process's, if it is queued or if the process that had it is dead."""

    def claim() -> Build | None:
        with writing(kit.engine) as session:
            return runs.claim(session, build_id, identity.me())

    row = patiently(claim)
    if row is not None:
        return row
    try:
        with reading(kit.engine) as session:
            held = builds.get(session, build_id)
    except BuildNotFoundError:
        return None
    # The queue brings a killed process's message back at once; its lease need not run out.
    if held.state in RUNNING and identity.is_dead(held.worker) and leftovers.requeue(kit, held):
        return patiently(claim)
    return None


def _worked(kit: Services, row: Build, heartbeat: Heartbeat) -> Callable[[], None] | None:
    """Do the work; returns what writes its end, or None for a build that somebody else will end.

    That is one that was handed on, or whose state the catalog is away too long to be told: then its
    lease runs out, and it is built again from what the cache holds.
    """
    try:
        with Reporter(kit.engine, row.id) as report:
            finished = _run(kit, row, heartbeat, report)
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


def _run(kit: Services, row: Build, heartbeat: Heartbeat, report: Reporter) -> Finished:
    def advance(state: BuildState, *, way: str | None = None, commit: str | None = None) -> None:
        def move() -> None:
            with writing(kit.engine) as session:
                held = builds.get(session, row.id)
                if (held.state, held.attempt) == (state, row.attempt):
                    return  # the answer to the commit before was lost
                runs.transition(session, row.id, state, attempt=row.attempt, way=way, commit=commit)

        report.flush()
        patiently(move)

    request = parse({**row.request, "environment": row.environment.full_name})
    return run(kit, request, advance, heartbeat, report, row.id)


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
        enqueue_for_engine(row.id)


def _failed(kit: Services, row: Build, problem: Mapping[str, Any]) -> None:
    with writing(kit.engine) as session:
        runs.finish_failed(session, row.id, dict(problem), attempt=row.attempt)


def _cancelled(kit: Services, row: Build) -> None:
    with writing(kit.engine) as session:
        runs.finish_cancelled(session, row.id, attempt=row.attempt)
