"""/v1/launches, /v1/restarts and /v1/uses: begun with 202, asked after by their id."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.cluster import service
from api.cluster.schemas import Launch, Launching, Looking, Restart, Restarting, Uses
from api.jobs.routes import JobId
from api.problems import Slug, declared
from api.services import PrincipalDep, ServicesDep

launches = APIRouter(prefix="/v1/launches", tags=["notebooks"])
restarts = APIRouter(prefix="/v1/restarts", tags=["notebooks"])
uses = APIRouter(prefix="/v1/uses", tags=["notebooks"])

_MISSING = declared(Slug.JOB_NOT_FOUND)
_REFUSED = declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.VERSION_NOT_FOUND, Slug.NO_CLUSTER)


async def _asking(who: PrincipalDep) -> str | None:
    """Whom the proxy in front says to be asking."""
    return who.cluster_user


UserDep = Annotated[str | None, Depends(_asking)]


@launches.post("", operation_id="launch", status_code=202, responses=_REFUSED)
def launch(asked: Launch, services: ServicesDep, user: UserDep, response: Response) -> Launching:
    """Start a notebook on a version: a Notebook, or a Workspace of a kind that offers it.

    It is made in the name of whoever asks or of the namespace's service account, as the server is
    set. Ask for the result at `Location`.
    """
    job = service.launch(services, asked, user)
    response.headers["Location"] = f"/v1/launches/{job.id}"
    return job


@launches.get("/{id}", operation_id="get_launch", responses=_MISSING)
def get_launch(id: JobId, services: ServicesDep) -> Launching:  # noqa: A002
    """How far a launch is, and what was made."""
    return service.launching(services, id)


@restarts.post("", operation_id="restart", status_code=202, responses=_REFUSED)
def restart(asked: Restart, services: ServicesDep, user: UserDep, response: Response) -> Restarting:
    """Give a Notebook a version now; whatever runs in it ends. In whose name: as a launch."""
    job = service.restart(services, asked, user)
    response.headers["Location"] = f"/v1/restarts/{job.id}"
    return job


@restarts.get("/{id}", operation_id="get_restart", responses=_MISSING)
def get_restart(id: JobId, services: ServicesDep) -> Restarting:  # noqa: A002
    """How far that is, and what became of the Notebook."""
    return service.restarting(services, id)


@uses.post("", operation_id="look_for_uses", status_code=202, responses=_REFUSED)
def look(asked: Uses, services: ServicesDep, user: UserDep, response: Response) -> Looking:
    """Look for the live objects that run an environment, in its namespace and in its rollouts'."""
    job = service.look(services, asked, user)
    response.headers["Location"] = f"/v1/uses/{job.id}"
    return job


@uses.get("/{id}", operation_id="get_uses", responses=_MISSING)
def get_uses(id: JobId, services: ServicesDep) -> Looking:  # noqa: A002
    """The objects, once they are found."""
    return service.looking(services, id)
