"""/v1/verifications and /v1/rebases."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.audit import subject
from api.jobs import service
from api.jobs.schemas import Rebase, Rebasing, Verification, Verify
from api.problems import Slug, declared
from api.services import ServicesDep

verifications = APIRouter(prefix="/v1/verifications", tags=["environments"])
rebases = APIRouter(prefix="/v1/rebases", tags=["environments"])

JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_MISSING = declared(Slug.JOB_NOT_FOUND)


@verifications.post(
    "",
    operation_id="verify",
    status_code=202,
    responses=declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.VERSION_NOT_FOUND),
)
def verify(asked: Verify, services: ServicesDep, response: Response) -> Verification:
    """Build a version again from its lock in an empty cache, and compare the digests.

    Nothing that exists is changed. Ask for the result at `Location`.
    """
    subject.note(asked.version)
    job = service.verify(services.engine, services.queue, services.who, asked.version)
    response.headers["Location"] = f"/v1/verifications/{job.id}"
    return job


@verifications.get("/{id}", operation_id="get_verification", responses=_MISSING)
def get_verification(id: JobId, services: ServicesDep) -> Verification:  # noqa: A002
    """How far a verification is, and what came of it."""
    return service.verification(services.queue, services.who, id)


@rebases.post("", operation_id="rebase", status_code=202, responses=declared(Slug.BASE_NOT_FOUND))
def rebase(asked: Rebase, services: ServicesDep, response: Response) -> Rebasing:
    """Put the latest versions on the base `old` on the base `new`, by manifests alone.

    Asking again goes on where it stopped: what is on `new` already stays as it is.
    """
    subject.note(asked.environments)
    job = service.rebase(services.engine, services.queue, services.who, asked)
    response.headers["Location"] = f"/v1/rebases/{job.id}"
    return job


@rebases.get("/{id}", operation_id="get_rebase", responses=_MISSING)
def get_rebase(id: JobId, services: ServicesDep) -> Rebasing:  # noqa: A002
    """How far a rebase is, and what became of each environment."""
    return service.rebasing(services.queue, services.who, id)
