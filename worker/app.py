"""The queue: the Celery app, and what the API may ask of the workers.

Importing this brings neither the builder nor the catalog. The catalog, not the queue, is the truth:
a message only says that a build may be waiting, so losing or doubling one does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import celery.exceptions
import kombu.exceptions
import redis
from celery import Celery, Task
from celery.signals import before_task_publish

from telemetry import context, tracing
from worker import presence, tally, transport
from worker.jobs import Jobs
from worker.settings import QueueSettings

BUILD = "kitbag.build"
PLAN = "kitbag.plan"
LAYERED_QUEUE = "layered"
ENGINE_QUEUE = "engine"
SWEEP = "kitbag.sweep"
TRIM = "kitbag.trim"
HOOKS = "kitbag.hooks"
JOB = "kitbag.job"
ROLL = "kitbag.roll"
OFFER = "kitbag.offer"
MIRROR = "kitbag.mirror"
_HEADER = "kitbag"
_CONNECT_S = 2.0
# Celery raises a bare RuntimeError when the connection that brings results can't be made again.
_QUEUE_ERRORS = (redis.RedisError, kombu.exceptions.KombuError, OSError, RuntimeError)
_AWAY = "The queue does not answer; whoever runs this server must start it, then ask again."


class WorkerProblem(Exception):  # noqa: N818 # it is a problem (RFC 9457), and the API calls it so
    """A worker answered with a problem instead of a plan."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")))
        self.problem = dict(problem)


class _Told(Task):  # type: ignore[misc]
    """A task that is about what its message's sender was about."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        sent: Mapping[str, str] = self.request.get(_HEADER) or {}
        with context.about(request=sent.get("request")):
            # A build has the trace of who asked for it, which may be somebody else.
            if self.name == BUILD or "traceparent" not in sent:
                return self.run(*args, **kwargs)
            with tracing.span(self.name, parent=sent["traceparent"], kind="consumer"):
                return self.run(*args, **kwargs)


@before_task_publish.connect  # type: ignore[untyped-decorator]
def _tell_about(headers: dict[str, Any], **_: object) -> None:
    """Send along what the message is about, and the trace that it is part of."""
    request = context.current().get("request")
    headers[_HEADER] = ({"request": request} if request else {}) | tracing.headers()


def make_app(settings: QueueSettings) -> Celery:
    """A Celery app on the broker of these settings; tasks are acknowledged when they have ended."""
    transport.install()
    made = Celery("kitbag", broker=settings.broker_url, backend=settings.broker_url, task_cls=_Told)
    made.conf.update(
        include=["worker.tasks"],
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        result_expires=300,
        worker_prefetch_multiplier=1,
        worker_max_memory_per_child=300_000,  # KiB; a cold build of 107 packages takes 190,000
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a queue that is away for a night is no reason to end
        broker_transport_options={
            "visibility_timeout": 6 * 3600,
            "socket_connect_timeout": _CONNECT_S,
            "socket_keepalive": True,
        },
        result_backend_transport_options={
            "socket_connect_timeout": _CONNECT_S,
            "retry_policy": {"max_retries": 3, "interval_start": 0, "interval_step": 0.2},
        },
        task_default_queue=LAYERED_QUEUE,
        task_routes={PLAN: {"queue": "plans"}, SWEEP: {"queue": "plans"}, TRIM: {"queue": "plans"}},
    )
    return made


@lru_cache(maxsize=1)
def app() -> Celery:
    """The app of this process."""
    return make_app(QueueSettings())


def enqueue_build(build_id: str, lane: str = LAYERED_QUEUE) -> None:
    """Send for a worker because a build waits in a lane; raises what the broker's client raises.

    Which build it takes is the catalog's to say: the one whose turn it is.
    """
    app().send_task(BUILD, args=[build_id], retry=False, ignore_result=True, queue=lane)


def send_roll(run_id: str) -> None:
    """Tell the workers of a rollout's run; raises what the broker's client raises.

    Each sweep tells them again, so that a message nobody takes in time is of no use.
    """
    app().send_task(
        ROLL,
        args=[int(run_id)],
        retry=False,
        ignore_result=True,
        expires=2 * QueueSettings().sweep_s,
    )


def send_offer() -> None:
    """Tell the workers that the launcher's list may be another; raises like `send_roll`."""
    app().send_task(OFFER, retry=False, ignore_result=True, expires=2 * QueueSettings().sweep_s)


def send_mirror() -> None:
    """Tell a worker that copies are due; raises what the broker's client raises.

    Each sweep tells it again.
    """
    expires = 2 * QueueSettings().sweep_s
    app().send_task(MIRROR, retry=False, ignore_result=True, expires=expires)


def request_plan(request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """What a worker would build for this request; raises WorkerProblem or TimeoutError."""
    try:
        answer = _asked(request, timeout_s)
    except celery.exceptions.TimeoutError as error:
        raise TimeoutError(f"no worker answered within {timeout_s:.0f} s") from error
    except _QUEUE_ERRORS as error:
        raise WorkerProblem({"type": "unavailable", "detail": _AWAY}) from error
    if "problem" in answer:
        raise WorkerProblem(answer["problem"])
    return answer


def _asked(request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    task = app().send_task(
        PLAN, args=[dict(request)], retry=False, expires=timeout_s, ignore_result=False
    )
    answer: dict[str, Any] = task.get(timeout=timeout_s, interval=0.02)
    task.forget()  # an answer that nobody waited for expires by itself
    return answer


def begin_job(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A new job of the workers, `verify` or `rebase`; raises WorkerProblem if the queue is away."""
    with _jobs() as jobs:
        job = jobs.add(kind, arguments)
        send_job(job["id"])
        return job


def job(job_id: str) -> dict[str, Any] | None:
    """The job as it is now, None if there is none; raises WorkerProblem if the queue is away."""
    with _jobs() as jobs:
        return jobs.get(job_id)


def send_job(job_id: str) -> None:
    """Tell the workers of a job; raises what the broker's client raises."""
    app().send_task(JOB, args=[job_id], retry=False, ignore_result=True)


@contextmanager
def _jobs() -> Iterator[Jobs]:
    jobs = Jobs(QueueSettings().broker_url)
    try:
        yield jobs
    except _QUEUE_ERRORS as error:
        raise WorkerProblem({"type": "unavailable", "detail": _AWAY}) from error
    finally:
        jobs.close()


def queue_health(timeout_s: float = 1.0) -> dict[str, Any]:
    """Whether the broker answers, and the name of the worker that answers first, if one does.

    One is enough to be ready, and waiting for all of them takes the whole time-out.
    """
    try:
        with _broker(timeout_s) as client:
            client.ping()
        replies = app().control.ping(timeout=timeout_s, limit=1)
    except _QUEUE_ERRORS:
        return {"broker": False, "workers": []}
    return {"broker": True, "workers": sorted(name for reply in replies for name in reply)}


def tallies(timeout_s: float = 1.0) -> dict[str, Any]:
    """What the workers counted, as `worker.tally.read` gives it; nothing while Redis is away."""
    try:
        with _broker(timeout_s) as broker:
            return tally.read(broker)
    except _QUEUE_ERRORS:
        return {}


def workers(timeout_s: float = 1.0) -> list[presence.Presence]:
    """The workers that said lately that they live; none while the broker does not answer."""
    try:
        with _broker(timeout_s) as broker:
            return list(presence.everyone(broker))
    except _QUEUE_ERRORS:
        return []


def _broker(timeout_s: float) -> redis.Redis:
    return redis.Redis.from_url(
        QueueSettings().broker_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
    )


def queue_messages(timeout_s: float = 1.0) -> dict[str, int]:
    """How many messages wait in each queue of builds; empty while the broker does not answer."""
    queues = (LAYERED_QUEUE, ENGINE_QUEUE)
    try:
        # The lists that kombu keeps messages in until a worker takes them.
        with _broker(timeout_s) as client, client.pipeline(transaction=False) as pipeline:
            for queue in queues:
                pipeline.llen(queue)
            return dict(zip(queues, pipeline.execute(), strict=True))
    except _QUEUE_ERRORS:
        return {}
