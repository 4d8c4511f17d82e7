"""Tells the workers of jobs, and says how far they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from api.jobs.schemas import Rebase, Rebasing, Verification
from api.problems import ProblemError, Slug, complete
from api.queue import PlanRefusedError, Queue
from catalog import bases, versions
from catalog.engine import reading

VERIFY = "verify"
REBASE = "rebase"


def verify(engine: Engine, queue: Queue, name: str) -> Verification:
    """Begin to verify a version; raises like `catalog.versions.find`."""
    with reading(engine) as session:
        found = versions.resolve(session, name)
        exact = f"{found.environment.full_name}:{found.number}"
    return Verification.model_validate(_begin(queue, VERIFY, {"version": exact}))


def rebase(engine: Engine, queue: Queue, asked: Rebase) -> Rebasing:
    """Begin to rebase; raises BaseNotFoundError for a base that nobody added."""
    with reading(engine) as session:
        for base in (asked.old, asked.new):
            bases.meant(session, base)
    return Rebasing.model_validate(_begin(queue, REBASE, asked.model_dump()))


def verification(queue: Queue, job_id: str) -> Verification:
    """How far a verification is."""
    return Verification.model_validate(_found(queue, VERIFY, job_id))


def rebasing(queue: Queue, job_id: str) -> Rebasing:
    """How far a rebase is."""
    return Rebasing.model_validate(_found(queue, REBASE, job_id))


def _begin(queue: Queue, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return _shown(queue.begin_job(kind, arguments))
    except PlanRefusedError as error:
        raise ProblemError.told(error.problem) from error


def _found(queue: Queue, kind: str, job_id: str) -> dict[str, Any]:
    try:
        job = queue.job(job_id)
    except PlanRefusedError as error:
        raise ProblemError.told(error.problem) from error
    if job is None or job["kind"] != kind:
        raise ProblemError(
            Slug.JOB_NOT_FOUND,
            "There is none of that id; they are remembered for a day, so begin it again.",
        )
    return _shown(job)


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    problem = job["problem"]
    told = complete(problem).model_dump(exclude_none=True) if problem else None
    return {**job, "problem": told}
