"""The tasks: each may run twice or die half-way, and the catalog stays right."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from contextlib import closing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import redis
from celery import Task, bootsteps
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from builder import memory
from builder.errors import BuildError
from builder.layers.cache import disk_full
from builder.model import Step
from catalog import builds
from catalog.engine import reading
from catalog.errors import CatalogError
from catalog.types import utcnow
from telemetry import logs, tracing
from telemetry.settings import Level
from worker import app as queue
from worker import (
    building,
    containers,
    hooks,
    leftovers,
    mirroring,
    offering,
    presence,
    rolling,
    stages,
    working,
)
from worker import plan as planning
from worker.deadline import Deadline
from worker.jobs import Jobs
from worker.problems import problem_of, surprise, unreadable
from worker.pulse import Pulse
from worker.request import parse
from worker.run import prepare
from worker.services import ENGINE_ALIVE, close_services, engine_of, services
from worker.settings import QueueSettings, WorkerSettings

log = logging.getLogger(__name__)

_NAME = f"{socket.gethostname()}:{os.getpid()}"
_STARTED = utcnow()
_LIVES_BEATS = 4
"""A worker that missed so many of its beats is taken for gone."""

_RETELL_S = 60
_OFFERED = "kitbag:offered"
_TRIM_S = 600
_PLAN_S = 300
"""A plan's time limit: whoever asked has gone by then, but what it fetched is of use later."""

_CHATTY = ("httpx", "httpcore", "celery.worker.strategy", "celery.app.trace")
"""They log every request, signed URLs and all, and every sweep."""


@queue.app().task(name=queue.BUILD, bind=True)  # type: ignore[untyped-decorator]
def build(self: Task, build_id: str) -> None:
    """Build what has its turn in the lane whose queue this came by; nothing if nothing waits."""
    building.build(services(), build_id, self.request.delivery_info["routing_key"])
    follow_up()
    _begin_mirrors()


@queue.app().task(name=queue.HOOKS)  # type: ignore[untyped-decorator]
def follow_up() -> None:
    """Go on with branches whose builds ended, and tell the forges; the next sweep does it else."""
    kit = services()
    try:
        for begun in hooks.settle(kit):
            queue.enqueue_build(begun)
        hooks.expire(kit)
        hooks.report(kit)
    except Exception:  # a build that is ended must not look as if it failed
        log.exception("webhooks are followed up later")


@queue.app().task(name=queue.PLAN, ignore_result=False)  # type: ignore[untyped-decorator]
def plan(request: dict[str, Any]) -> dict[str, Any]:
    """What `build` would do with this request, or a problem."""
    try:
        return _planned(request)
    except BuildError as error:
        return {"problem": problem_of(error)}
    except ValidationError:
        return {"problem": unreadable()}
    except Exception:  # the caller waits for an answer, whatever happened
        log.exception("a plan failed unexpectedly")
        return {"problem": surprise("a plan")}


def _planned(request: dict[str, Any]) -> dict[str, Any]:
    kit = services()
    asked = parse(request)
    deadline = Deadline(min(_PLAN_S, kit.settings.build_timeout_s), lambda: False)
    warnings: list[str] = []

    def report(step: Step) -> None:
        if step.kind == "warning":
            warnings.append(step.message)

    with deadline.explained(), disk_full(kit.settings.cache_root):
        with tempfile.TemporaryDirectory(dir=kit.scratch.path, prefix="plan-") as folder:
            prepared = prepare(kit, asked, Path(folder), deadline, report)
        return planning.describe(kit, asked, prepared, warnings)


@queue.app().task(name=queue.JOB)  # type: ignore[untyped-decorator]
def job(job_id: str) -> None:
    """Do a job; nothing if it ended or another worker is at it."""
    working.work(services(), job_id)


@queue.app().task(name=queue.ROLL)  # type: ignore[untyped-decorator]
def roll(run_id: int) -> None:
    """Take a version to the objects of a rollout; nothing if another worker does."""
    rolling.roll(services(), run_id)


@queue.app().task(name=queue.OFFER)  # type: ignore[untyped-decorator]
def offer() -> None:
    """Write what is offered into the launcher's list; nothing if that is there."""
    offering.offer(services())


@queue.app().task(name=queue.MIRROR)  # type: ignore[untyped-decorator]
def mirror() -> None:
    """Copy versions to the registries of their targets; nothing if another process does."""
    mirroring.mirror_alone(services())


def _begin_mirrors() -> None:
    """Have copies begun that are due; the next sweep does it else."""
    try:
        if mirroring.due(services()):
            queue.send_mirror()
    except Exception:  # a build that is ended must not look as if it failed
        log.exception("copies to targets are begun later")


@queue.app().task(name=queue.SWEEP)  # type: ignore[untyped-decorator]
def sweep(*, anew: bool = False) -> None:
    """Queue again what dead workers left, and tell the queue of builds that it may have lost.

    A long queue is not told at every sweep, unless `anew`.
    """
    kit = services()
    try:
        again = leftovers.requeue_dead(kit)
        waiting = leftovers.waiting(kit)
        rolls = rolling.due(kit)
        offers = offering.wanted(kit)
    except SQLAlchemyError as error:
        log.warning("no sweep: the catalog does not answer: %s", type(error).__name__)
        return
    with redis.Redis.from_url(kit.settings.broker_url) as broker:

        def mark(build_id: str) -> bool:
            key = f"kitbag:told:{build_id}"
            return bool(broker.set(key, 1, nx=not anew, ex=_RETELL_S))

        for lane, build_ids in again.items():
            leftovers.tell(build_ids, lambda _: True, partial(queue.enqueue_build, lane=lane))
        for lane, build_ids in waiting.items():
            leftovers.tell(build_ids, mark, partial(queue.enqueue_build, lane=lane))
        leftovers.tell([str(run) for run in rolls], lambda _: True, queue.send_roll)
        if offers is not None and _changed(broker, offering.mark(offers)):
            leftovers.tell([""], lambda _: True, lambda _: queue.send_offer())
        with closing(Jobs(kit.settings.broker_url)) as jobs:
            leftovers.tell(jobs.left(), mark, queue.send_job)
    follow_up()
    _begin_mirrors()


def _changed(broker: redis.Redis, offers: str) -> bool:
    """Whether what is offered is not what was told last, or that was a while ago."""
    if broker.get(_OFFERED) == offers.encode():
        return False
    broker.set(_OFFERED, offers, ex=_RETELL_S)
    return True


@queue.app().task(name=queue.TRIM)  # type: ignore[untyped-decorator]
def trim() -> None:
    """Keep this worker's cache within its limit, and its scratch free of what died."""
    kit = services()
    leftovers.remove_files(kit)
    containers.sweep(kit)
    try:
        stages.sweep(kit)
    except SQLAlchemyError as error:
        log.warning("no stages were swept: the catalog does not answer: %s", type(error).__name__)


class Sweeper(bootsteps.StartStopStep):  # type: ignore[misc]
    """Asks for sweeps from the worker's own event loop, so that they end only when it does.

    It begins with one at once: whatever was left or lost before is found when a worker starts, or
    when its queue is back.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **_: Any) -> None:  # noqa: ANN401 # untyped
        super().__init__(consumer)
        self._entries: list[Any] = []
        self._pulse: Pulse | None = None

    def start(self, consumer: Any) -> None:  # noqa: ANN401 # untyped
        """Begin, also again after the queue was away."""
        every = QueueSettings().sweep_s
        _ask(sweep, _RETELL_S, anew=True)
        _ask_trim(None)
        if queue.ENGINE_QUEUE in {each.name for each in consumer.task_consumer.queues}:
            _tell_engine(every)
            self._begin_pulse(every)
            # Only a worker with an engine sweeps it, and one may listen to nothing else.
            _ask_trim(queue.ENGINE_QUEUE)
            self._entries = [
                consumer.timer.call_repeatedly(every, _tell_engine, (every,)),
                consumer.timer.call_repeatedly(_TRIM_S, _ask_trim, (queue.ENGINE_QUEUE,)),
            ]
        self._tell(consumer, every)
        self._entries += [
            consumer.timer.call_repeatedly(every, self._tell, (consumer, every)),
            consumer.timer.call_repeatedly(every, _ask, (sweep, every)),
            consumer.timer.call_repeatedly(_TRIM_S, _ask_trim, (None,)),
        ]

    def stop(self, consumer: Any) -> None:  # noqa: ANN401, ARG002 # untyped
        """Stop asking."""
        for entry in self._entries:
            entry.cancel()
        self._entries = []
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None
        with suppress(redis.RedisError), _broker() as broker:
            presence.leave(broker, _NAME)

    def _begin_pulse(self, every_s: float) -> None:
        settings = WorkerSettings()
        if settings.engine == "none":
            return
        self._pulse = Pulse(partial(engine_of, settings), 2 * every_s)
        self._pulse.start()

    def _tell(self, consumer: Any, every_s: float) -> None:  # noqa: ANN401 # untyped
        """Let whoever looks after the service know that this worker lives."""
        settings = WorkerSettings()
        told = presence.Presence(
            name=_NAME,
            release=version("kitbag-server"),
            queues=tuple(sorted(each.name for each in consumer.task_consumer.queues)),
            concurrency=consumer.pool.num_processes,
            engine=settings.engine,
            engine_problem=(self._pulse.problem or "") if self._pulse else "",
            started_at=_STARTED,
            seen_at=utcnow(),
        )
        try:
            with _broker() as broker:
                presence.tell(broker, told, _LIVES_BEATS * every_s)
        except redis.RedisError as error:
            log.warning("the queue does not take a sign of life: %s", type(error).__name__)


def _broker() -> redis.Redis:
    return redis.Redis.from_url(
        QueueSettings().broker_url, socket_timeout=2, socket_connect_timeout=2
    )


def _tell_engine(every_s: float) -> None:
    """Let the other workers know that one with a container engine lives."""
    try:
        with _broker() as broker:
            broker.set(ENGINE_ALIVE, 1, ex=max(60, int(4 * every_s)))
    except redis.RedisError as error:
        log.warning("the queue does not take a sign of life: %s", type(error).__name__)


def _ask_trim(name: str | None) -> None:
    """Ask whoever listens to this queue, or to the task's own one."""
    _ask(trim, _TRIM_S, name)


def _ask(
    task: Any,  # noqa: ANN401 # untyped
    expires_s: float,
    name: str | None = None,
    **arguments: Any,  # noqa: ANN401
) -> None:
    """Send one of the tasks above; a queue that is away is asked again by the next one."""
    try:
        task.apply_async(kwargs=arguments, retry=False, expires=expires_s, queue=name)
    except Exception as error:  # noqa: BLE001 # the event loop must go on
        log.warning("the queue does not take %s: %s", task.name, error)


queue.app().steps["consumer"].add(Sweeper)


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: object) -> None:
    """Log as this service does; Celery keeps its hands off where somebody listens to this."""
    logs.start(Level.INFO)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _warm_up(**_: object) -> None:
    """Open connections before the first build asks for them, and keep what its buffers free."""
    memory.keep_buffers()
    tracing.start("kitbag-worker")
    try:
        with reading(services().engine) as session:
            builds.listing(session, limit=1)
    except (CatalogError, SQLAlchemyError):
        log.warning("the catalog does not answer yet")


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _tidy_up(**_: object) -> None:
    """Leave no compilers and no scratch behind when a child is replaced or the worker ends."""
    close_services()
    tracing.stop()
