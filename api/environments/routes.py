"""/v1/environments and /v1/resolve."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from api.environments import service
from api.environments.quick import MAX_NAME_CHARS, MAX_TAG_CHARS, Quick, response
from api.environments.resolver import many
from api.environments.schemas import (
    DiffOut,
    EnvironmentChange,
    EnvironmentOut,
    EnvironmentPage,
    Resolved,
    ResolvedMany,
    ResolveMany,
    Rollback,
    VersionOut,
    VersionPage,
    WholeVersion,
)
from api.problems import Slug, declared
from api.services import EngineDep, PrincipalDep, ResolverDep, ServicesDep

router = APIRouter(prefix="/v1/environments", tags=["environments"])
resolve_router = APIRouter(prefix="/v1/resolve", tags=["environments"], route_class=Quick)

_MISSING = declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.VERSION_NOT_FOUND)
_NO_IMAGE = declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.VERSION_NOT_FOUND, Slug.IMAGE_NOT_FOUND)
_NOT_NEAR = declared(
    Slug.ENVIRONMENT_NOT_FOUND,
    Slug.VERSION_NOT_FOUND,
    Slug.IMAGE_NOT_FOUND,
    Slug.TARGET_NOT_FOUND,
    Slug.NOT_MIRRORED,
)
_WhichAccelerator = Annotated[
    str | None,
    Query(min_length=1, max_length=16, description="Of several images, the one for this."),
]
WhichTarget = Annotated[
    str | None,
    Query(min_length=1, max_length=63, description="The target that pulls it; here unless given."),
]
Wanted = Annotated[str, Query(min_length=1, max_length=255)]
Limit = Annotated[int, Query(ge=1, le=100)]


async def _full_name(
    namespace: Annotated[str, Path(max_length=63)], name: Annotated[str, Path(max_length=63)]
) -> str:
    return f"{namespace}/{name}"


EnvironmentName = Annotated[str, Depends(_full_name)]


async def _which(
    accelerator: _WhichAccelerator = None,
    platform: Annotated[str | None, Query(min_length=1, max_length=64)] = None,
) -> service.Which:
    return accelerator, platform


Which = Annotated[service.Which, Depends(_which)]


@router.get("", operation_id="list_environments")
def list_environments(
    engine: EngineDep,
    query: Annotated[str, Query(max_length=127)] = "",
    namespace: Annotated[str | None, Query(max_length=63)] = None,
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=127)] = None,
) -> EnvironmentPage:
    """Environments by name; those with `query` in their name, or of one namespace."""
    return service.page(engine, query=query, namespace=namespace, after=after, limit=limit)


@router.get(
    "/{namespace}/{name}",
    operation_id="get_environment",
    responses=declared(Slug.ENVIRONMENT_NOT_FOUND),
)
def get_environment(environment: EnvironmentName, engine: EngineDep) -> EnvironmentOut:
    """One environment and its latest version."""
    return service.get(engine, environment)


@router.patch(
    "/{namespace}/{name}",
    operation_id="change_environment",
    responses=declared(Slug.ENVIRONMENT_NOT_FOUND, Slug.NO_CLUSTER),
)
def change_environment(
    environment: EnvironmentName, asked: EnvironmentChange, services: ServicesDep
) -> EnvironmentOut:
    """Offer the newest version in the list of Kubeflow's notebook launcher, or no longer."""
    return service.offer(services.engine, services.settings, environment, asked.offered)


@router.get(
    "/{namespace}/{name}/versions",
    operation_id="list_versions",
    responses=declared(Slug.ENVIRONMENT_NOT_FOUND),
)
def list_versions(
    environment: EnvironmentName,
    engine: EngineDep,
    limit: Limit = 50,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> VersionPage:
    """The environment's history, the newest version first."""
    return service.history(engine, environment, before=before, limit=limit)


@router.get(
    "/{namespace}/{name}/versions/{version:path}", operation_id="get_version", responses=_NO_IMAGE
)
def get_version(
    environment: EnvironmentName,
    version: Annotated[str, Path(max_length=255)],
    engine: EngineDep,
    which: Which,
) -> WholeVersion:
    """One version with the lock, packages and layers of an image of it, the first by default.

    `version` is a number, `latest`, a commit (its first 7 digits or more) or a branch.
    """
    return service.version(engine, environment, version, which)


@router.get("/{namespace}/{name}/diff", operation_id="compare_versions", responses=_NO_IMAGE)
def compare_versions(
    environment: EnvironmentName,
    engine: EngineDep,
    before: Annotated[Wanted, Query(alias="from")],
    after: Annotated[Wanted, Query(alias="to")],
    which: Which,
) -> DiffOut:
    """What changes from one version to another, in their first images by default."""
    return service.compare(engine, environment, before, after, which)


@router.post(
    "/{namespace}/{name}/rollback",
    operation_id="rollback",
    status_code=201,
    responses=_MISSING,
)
def rollback(
    environment: EnvironmentName,
    asked: Rollback,
    engine: EngineDep,
    who: PrincipalDep,
    response: Response,
) -> VersionOut:
    """Make an old version the newest: a new number with the old image."""
    version = service.rollback(engine, who, environment, asked.to)
    response.headers["Location"] = f"/v1/environments/{environment}/versions/{version.number}"
    return version


@resolve_router.get(
    "",
    operation_id="resolve",
    responses={
        200: {"model": Resolved, "description": "The image, with an `ETag` of the answer."},
        304: {"description": "It is still what `If-None-Match` names."},
        **_NOT_NEAR,
    },
)
async def resolve(
    resolver: ResolverDep,
    who: PrincipalDep,
    env: Annotated[
        str, Query(min_length=1, max_length=MAX_NAME_CHARS, description="NAMESPACE/NAME[:VERSION]")
    ],
    accelerator: _WhichAccelerator = None,
    target: WhichTarget = None,
    if_none_match: Annotated[str | None, Header(max_length=MAX_TAG_CHARS)] = None,
) -> Response:
    """The digest reference that a name stands for at this moment.

    Of a version with images for several accelerators that of the first, or of the one asked for.
    At a target it is the equal digest in the target's registry, once it was copied there.
    """
    if target is None:
        return response(await resolver.resolve(who, env, accelerator), if_none_match)
    return response(await resolver.near(who, env, accelerator, target), if_none_match)


@resolve_router.post("", operation_id="resolve_many")
async def resolve_many(
    asked: ResolveMany, resolver: ResolverDep, who: PrincipalDep
) -> ResolvedMany:
    """What up to 100 names stand for, in their order, by one request.

    A name that stands for nothing has a problem in its place; the others are answered all the same.
    """
    return ResolvedMany(items=await many(resolver, who, asked))
