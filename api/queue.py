"""What the API needs of the queue; `worker.app` is the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from worker.presence import Presence


class PlanRefusedError(Exception):
    """The worker answered a plan with a problem (RFC 9457, `type` may be the slug alone)."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")))
        self.problem = problem


class Queue(Protocol):
    """The way to the workers; every method blocks and may be called from several threads."""

    def enqueue_build(self, build_id: str) -> None:
        """Tell a worker of a queued build; whatever it raises, the sweep tells it again later."""

    def request_plan(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """What a worker would build; raises PlanRefusedError, or TimeoutError if none answers."""

    def begin_job(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A new job of the workers; raises PlanRefusedError if the queue is away."""

    def job(self, job_id: str) -> dict[str, Any] | None:
        """The job as it is now, None if there is none; raises PlanRefusedError likewise."""

    def tallies(self) -> dict[str, Any]:
        """What the workers counted (`worker.tally.read`); nothing if they can't be asked."""

    def workers(self) -> Sequence[Presence]:
        """The workers that lately said that they live; none if the queue is away."""

    def queue_health(self, timeout_s: float) -> dict[str, Any]:
        """`broker`: whether it answers; `workers`: those that answered. Never raises."""

    def queue_messages(self) -> dict[str, int]:
        """How many messages wait in each queue of builds; empty if it is away. Never raises."""


class WorkerQueue:
    """The queue that the workers of this service listen to."""

    def enqueue_build(self, build_id: str) -> None:
        from worker import app

        app.enqueue_build(build_id)

    def request_plan(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        from worker import app

        try:
            plan: dict[str, Any] = app.request_plan(request, timeout_s)
        except app.WorkerProblem as error:
            raise PlanRefusedError(error.problem) from error
        return plan

    def begin_job(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        from worker import app

        try:
            job: dict[str, Any] = app.begin_job(kind, arguments)
        except app.WorkerProblem as error:
            raise PlanRefusedError(error.problem) from error
        return job

    def job(self, job_id: str) -> dict[str, Any] | None:
        from worker import app

        try:
            found: dict[str, Any] | None = app.job(job_id)
        except app.WorkerProblem as error:
            raise PlanRefusedError(error.problem) from error
        return found

    def tallies(self) -> dict[str, Any]:
        from worker import app

        found: dict[str, Any] = app.tallies()
        return found

    def workers(self) -> Sequence[Presence]:
        from worker import app

        return app.workers()

    def queue_health(self, timeout_s: float) -> dict[str, Any]:
        from worker import app

        health: dict[str, Any] = app.queue_health(timeout_s)
        return health

    def queue_messages(self) -> dict[str, int]:
        from worker import app

        waiting: dict[str, int] = app.queue_messages()
        return waiting
