"""Ask each part whether it is there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from api.health.schemas import LaneOut, Part, Readiness, Status, WorkerOut
from api.queue import Queue
from catalog import turns
from catalog.build_models import ENGINE
from catalog.engine import reading
from catalog.models import Namespace
from catalog.types import utcnow
from worker.presence import Presence

log = logging.getLogger(__name__)
_QUEUE_TIMEOUT_S = 2.0
_CACHED_S = 3.0
_CACHED_UNREADY_S = 0.2


class Probe:
    """Readiness, looked up at most every few seconds however many ask."""

    def __init__(self, engine: Engine, queue: Queue) -> None:
        self._engine = engine
        self._queue = queue
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._found: Readiness | None = None

    def readiness(self) -> Readiness:
        """The state of the parts."""
        with self._lock:
            ready = self._found is not None and self._found.ready
            cached_s = _CACHED_S if ready else _CACHED_UNREADY_S
            if self._found is None or time.monotonic() - self._asked_at > cached_s:
                self._found = self._ask()
                self._asked_at = time.monotonic()
            return self._found

    def status(self) -> Status:
        """How the whole service is, with every worker that lately said that it lives."""
        found = self.readiness()
        workers = self._queue.workers()
        lanes: list[LaneOut] = []
        running = 0
        if found.catalog.ok:
            with reading(self._engine) as session:
                now = utcnow()
                lanes = [
                    LaneOut(
                        name=name,
                        waiting=waiting,
                        oldest_s=max(0.0, round((now - since).total_seconds(), 1)),
                    )
                    for name, waiting, since in turns.waiting(session)
                ]
                running = turns.running(session)
        return Status(
            release=version("kitbag-server"),
            ready=found.ready,
            catalog=found.catalog,
            queue=found.queue,
            engines=_engines(lanes, workers),
            workers=[WorkerOut.model_validate(each.model_dump()) for each in workers],
            lanes=lanes,
            running=running,
        )

    def _ask(self) -> Readiness:
        catalog = self._catalog()
        queue, workers = self._queue_and_workers()
        return Readiness(
            ready=catalog.ok and queue.ok and workers.ok,
            catalog=catalog,
            queue=queue,
            workers=workers,
        )

    def _catalog(self) -> Part:
        try:
            with reading(self._engine) as session:
                session.execute(select(Namespace.name).limit(1))
        except SQLAlchemyError:
            log.warning("the catalog does not answer", exc_info=True)
            return Part(ok=False, detail="The database does not answer, or has not been migrated.")
        return Part(ok=True)

    def _queue_and_workers(self) -> tuple[Part, Part]:
        health = self._queue.queue_health(_QUEUE_TIMEOUT_S)
        broker, workers = bool(health.get("broker")), bool(health.get("workers"))
        return (
            Part(ok=broker, detail="" if broker else "The queue does not answer."),
            Part(ok=workers, detail="" if workers else "No worker answers; start one."),
        )


def _engines(lanes: Sequence[LaneOut], workers: Sequence[Presence]) -> Part:
    """Builds that wait for an engine need a worker that takes from their lane, and its engine."""
    waiting = sum(lane.waiting for lane in lanes if lane.name == ENGINE)
    if waiting and not any(ENGINE in worker.queues for worker in workers):
        return Part(
            ok=False,
            detail=f"{waiting} builds wait for a worker with a container engine, and none answers.",
        )
    for worker in workers:
        if worker.engine_problem:
            return Part(ok=False, detail=f"{worker.name}: {worker.engine_problem}")
    return Part(ok=True)
