"""One job's life: begun, worked on while it says so, and ended with a result or a problem."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from builder.errors import BuildError
from catalog.errors import CatalogError
from kitbag.live.errors import AwayError, ClusterError
from kitbag.specs import KindsError
from worker import launching, rebasing, using, verifying
from worker.jobs import MAX_ATTEMPTS, JobKind, Jobs
from worker.problems import problem_of, surprise
from worker.services import Services

log = logging.getLogger(__name__)


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
        except (ClusterError, KindsError) as error:
            jobs.end(job, problem=_of_cluster(error))
        except Exception:  # whoever asks must be told, whatever happened
            log.exception("job %s failed unexpectedly", job_id)
            jobs.end(job, problem=surprise(f"job {job_id}"))


def _result(kit: Services, jobs: Jobs, job: dict[str, Any]) -> dict[str, Any]:
    tell, arguments = jobs.teller(job), job["arguments"]
    match JobKind(job["kind"]):
        case JobKind.VERIFY:
            return verifying.run(kit, str(arguments["version"]), tell)
        case JobKind.REBASE:
            return rebasing.run(kit, rebasing.Order.model_validate(arguments), tell)
        case JobKind.LAUNCH:
            return launching.start(kit, launching.Start.model_validate(arguments), job["id"])
        case JobKind.RESTART:
            return launching.restart(kit, launching.Restart.model_validate(arguments))
        case JobKind.USES:
            return using.look(kit, using.Look.model_validate(arguments))


def _of_cluster(error: ClusterError | KindsError) -> dict[str, Any]:
    """The sentence of a cluster's answer as a problem."""
    text = str(error).rstrip(".")
    kind = "unavailable" if isinstance(error, AwayError) else "cluster-refused"
    return {"type": kind, "detail": f"{text[:1].upper()}{text[1:]}."}
