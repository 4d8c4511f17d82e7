"""One job's life: begun, worked on while it says so, and ended with a result or a problem."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from builder.errors import BuildError
from catalog.errors import CatalogError
from worker import rebasing, verifying
from worker.jobs import MAX_ATTEMPTS, Jobs
from worker.problems import problem_of, surprise
from worker.services import Services

log = logging.getLogger(__name__)

VERIFY = "verify"
REBASE = "rebase"


def work(kit: Services, job_id: str) -> None:
    """Do a job; nothing if it ended or another worker is at it."""
    with closing(Jobs(kit.settings.broker_url)) as jobs:
        job = jobs.begin(job_id)
        if job is None:
            return
        if job["attempt"] > MAX_ATTEMPTS:
            jobs.end(job, problem=surprise(f"job {job_id}, at which {MAX_ATTEMPTS} workers died"))
            return
        try:
            jobs.end(job, result=_result(kit, jobs, job))
        except BuildError as error:
            jobs.end(job, problem=problem_of(error))
        except CatalogError as error:
            jobs.end(job, problem={"type": error.type, "detail": str(error)})
        except Exception:  # whoever asks must be told, whatever happened
            log.exception("job %s failed unexpectedly", job_id)
            jobs.end(job, problem=surprise(f"job {job_id}"))


def _result(kit: Services, jobs: Jobs, job: dict[str, Any]) -> dict[str, Any]:
    tell = jobs.teller(job)
    if job["kind"] == VERIFY:
        return verifying.run(kit, str(job["arguments"]["version"]), tell)
    return rebasing.run(kit, rebasing.Order.model_validate(job["arguments"]), tell)
