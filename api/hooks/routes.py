"""/v1/hooks, for forges, and /v1/environments/…/hooks, for those who set them up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path, Query, Request
from fastapi.concurrency import run_in_threadpool

from api.builds import service as building
from api.environments.routes import EnvironmentName
from api.hooks import service
from api.hooks.schemas import HookList, HookOut, HookWithSecret, NewHook, Taken
from api.problems import Slug, declared
from api.services import EngineDep, ServicesDep
from catalog.hook_models import Forge

deliveries = APIRouter(prefix="/v1/hooks", tags=["hooks"])
router = APIRouter(prefix="/v1/environments/{namespace}/{name}/hooks", tags=["hooks"])

HookId = Annotated[str, Path(max_length=64)]
_MISSING = declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.HOOK_NOT_FOUND)


@deliveries.post(
    "/{forge}",
    operation_id="deliver",
    status_code=202,
    responses=declared(
        Slug.UNAUTHORIZED, Slug.FORBIDDEN, Slug.HOOK_NOT_FOUND, Slug.TOO_LARGE, Slug.INVALID_REQUEST
    ),
)
async def deliver(
    forge: Forge,
    hook: Annotated[str, Query(min_length=1, max_length=64, description="The webhook's id.")],
    request: Request,
    services: ServicesDep,
    tasks: BackgroundTasks,
) -> Taken:
    """Take what a forge tells. The signature in its headers is what lets it in.

    The answer comes at once; builds go on by themselves. The same delivery again is answered as
    before and does nothing.
    """
    # Nobody who knows no secret makes the server take in a large body.
    known = (services.engine, services.settings, forge, hook, request.headers)
    await run_in_threadpool(service.admit, *known)
    body = await request.body()
    taken = await run_in_threadpool(service.receive, *known, body)
    for build_id in () if taken.duplicate else taken.builds:
        tasks.add_task(building.tell, services.queue, services.tell_slots, build_id)
    return taken


@router.post("", operation_id="add_hook", status_code=201, responses=_MISSING)
def add_hook(environment: EnvironmentName, asked: NewHook, services: ServicesDep) -> HookWithSecret:
    """Let pushes to a repository build this environment. The answer has what the forge needs."""
    return service.add(services.engine, services.settings, services.who, environment, asked)


@router.get("", operation_id="list_hooks", responses=_MISSING)
def list_hooks(environment: EnvironmentName, engine: EngineDep) -> HookList:
    """The environment's webhooks, without their secrets."""
    return service.listed(engine, environment)


@router.get("/{hook_id}", operation_id="show_hook", responses=_MISSING)
def show_hook(
    environment: EnvironmentName, hook_id: HookId, services: ServicesDep
) -> HookWithSecret:
    """One webhook and its secret."""
    return service.show(services.engine, services.settings, environment, hook_id)


@router.post("/{hook_id}/renew", operation_id="renew_hook", responses=_MISSING)
def renew_hook(
    environment: EnvironmentName, hook_id: HookId, services: ServicesDep
) -> HookWithSecret:
    """Give the webhook another secret; the old one is worth nothing from now on."""
    return service.renew(services.engine, services.settings, environment, hook_id)


@router.delete("/{hook_id}", operation_id="remove_hook", responses=_MISSING)
def remove_hook(environment: EnvironmentName, hook_id: HookId, engine: EngineDep) -> HookOut:
    """Forget the webhook, and answer what it was; versions that it made stay."""
    return service.remove(engine, environment, hook_id)
