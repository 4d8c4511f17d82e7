"""Tells the workers of jobs, and says how far they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from api.auth.principal import Principal, Role
from api.jobs.schemas import Rebase, Rebasing, Verification
from api.problems import ProblemError, Slug, complete
from api.queue import PlanRefusedError, Queue
from catalog import bases, versions
from catalog.engine import reading

VERIFY = "verify"
REBASE = "rebase"


def verify(engine: Engine, queue: Queue, who: Principal, name: str) -> Verification:
    """Begin to verify a version; raises like `catalog.versions.find`."""
    with reading(engine) as session:
        version = versions.resolve(session, name)
        who.require(Role.USER, version.environment.namespace)
        exact = f"{version.environment.full_name}:{version.number}"
    return Verification.model_validate(begin(queue, VERIFY, {"version": exact}))


def rebase(engine: Engine, queue: Queue, who: Principal, asked: Rebase) -> Rebasing:
    """Begin to rebase; raises BaseNotFoundError for a base that nobody added."""
    who.require(Role.MAINTAINER, _namespace(asked.environments))
    with reading(engine) as session:
        for base in (asked.old, asked.new):
            bases.meant(session, base)
    return Rebasing.model_validate(begin(queue, REBASE, asked.model_dump()))


def verification(queue: Queue, who: Principal, job_id: str) -> Verification:
    """How far a verification is, for who sees what it is about."""
    return Verification.model_validate(found(queue, who, VERIFY, job_id))


def rebasing(queue: Queue, who: Principal, job_id: str) -> Rebasing:
    """How far a rebase is, for who sees all that it is about."""
    return Rebasing.model_validate(found(queue, who, REBASE, job_id))


def begin(queue: Queue, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A new job; raises ProblemError if the queue is away."""
    try:
        return _shown(queue.begin_job(kind, arguments))
    except PlanRefusedError as error:
        raise ProblemError.told(error.problem) from error


def found(queue: Queue, who: Principal, kind: str, job_id: str) -> dict[str, Any]:
    """A job of this kind, for who sees what it is about; raises ProblemError."""
    try:
        job = queue.job(job_id)
    except PlanRefusedError as error:
        raise ProblemError.told(error.problem) from error
    if job is None or job["kind"] != kind or not _sees(who, job["arguments"]):
        raise ProblemError(
            Slug.JOB_NOT_FOUND,
            "There is none of that id; they are remembered for a day, so begin it again.",
        )
    return _shown(job)


def _sees(who: Principal, arguments: Mapping[str, Any]) -> bool:
    about = str(arguments.get("version") or arguments.get("environments"))
    return who.role_in(_namespace(about)) is not None


def _namespace(about: str) -> str:
    """The namespace of NS/NAME or NS/*; `*`, where only who is in every namespace has a role."""
    return about.partition("/")[0]


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    problem = job["problem"]
    told = complete(problem).model_dump(exclude_none=True) if problem else None
    return {**job, "problem": told}
