"""/v1/environments/{namespace}/{name}/rollouts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.environments.routes import EnvironmentName
from api.problems import Slug, declared
from api.rollouts import service
from api.rollouts.schemas import Register, RolloutList, RolloutOut
from api.services import EngineDep, ServicesDep

router = APIRouter(prefix="/v1/environments/{namespace}/{name}/rollouts", tags=["rollouts"])

RolloutId = Annotated[int, Path(ge=1, le=2**31 - 1)]
_MISSING = declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.ROLLOUT_NOT_FOUND)


@router.get("", operation_id="list_rollouts", responses=declared(Slug.ENVIRONMENT_NOT_FOUND))
def list_rollouts(environment: EnvironmentName, engine: EngineDep) -> RolloutList:
    """The objects that get each new version, and what became of them with the newest."""
    return service.listing(engine, environment)


@router.post(
    "",
    operation_id="add_rollout",
    status_code=201,
    responses=declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.NO_CLUSTER, Slug.GIT_REFUSED),
)
def add_rollout(
    environment: EnvironmentName,
    asked: Register,
    services: ServicesDep,
    response: Response,
) -> RolloutOut:
    """Give objects of the cluster, or files of a git repository, the newest version, and each that
    comes after it.

    In a cluster it is done in the name of the environment's service account, or of whoever asks,
    as the server is set; what that one may not do is told in the result.
    """
    made = service.add(services.engine, services.settings, services.who, environment, asked)
    response.headers["Location"] = f"/v1/environments/{environment}/rollouts/{made.id}"
    return made


@router.get("/{id}", operation_id="get_rollout", responses=_MISSING)
def get_rollout(environment: EnvironmentName, id: RolloutId, engine: EngineDep) -> RolloutOut:  # noqa: A002
    """One rollout, and what became of its objects."""
    return service.get(engine, environment, id)


@router.post("/{id}/retry", operation_id="retry_rollout", status_code=202, responses=_MISSING)
def retry_rollout(environment: EnvironmentName, id: RolloutId, engine: EngineDep) -> RolloutOut:  # noqa: A002
    """Try the newest version again now, such as after a right was given or a conflict settled."""
    return service.again(engine, environment, id)


@router.delete("/{id}", operation_id="remove_rollout", status_code=204, responses=_MISSING)
def remove_rollout(environment: EnvironmentName, id: RolloutId, engine: EngineDep) -> None:  # noqa: A002
    """Leave the objects alone from now on; they stay as they are."""
    service.remove(engine, environment, id)
