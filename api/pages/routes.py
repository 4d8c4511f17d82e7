"""GET / and what is below it: the pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import HTMLResponse

from api.builds.request import Accelerator
from api.launcher import service as launcher
from api.pages import complete, views
from api.pages.forms import NewForm
from api.pages.render import page
from api.services import EngineDep, ServicesDep
from catalog.states import BuildState

router = APIRouter(include_in_schema=False)

_PAGE = 50
Namespace = Annotated[str, Path(max_length=63)]
Name = Annotated[str, Path(max_length=63)]
BuildId = Annotated[str, Path(max_length=64)]


@router.get("/")
def list_environments(
    request: Request,
    engine: EngineDep,
    q: Annotated[str, Query(max_length=127)] = "",
    namespace: Annotated[str | None, Query(max_length=63)] = None,
    after: Annotated[str | None, Query(max_length=127)] = None,
) -> HTMLResponse:
    """The environments, and what is being built."""
    found = views.listing(
        engine, query=q.strip(), namespace=namespace or None, after=after, limit=_PAGE
    )
    return page(request, "environments.html", found)


@router.get("/environments/{namespace}/{name}")
def show_environment(
    request: Request,
    services: ServicesDep,
    namespace: Namespace,
    name: Name,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> HTMLResponse:
    """An environment's versions and builds."""
    found = views.environment(services.engine, f"{namespace}/{name}", before=before)
    settings = services.settings
    context = {**found, "can_offer": settings.keeps_a_list, "can_look": bool(settings.cluster)}
    return page(request, "environment.html", context)


@router.get("/environments/{namespace}/{name}/versions/{version:path}")
def show_version(
    request: Request,
    services: ServicesDep,
    namespace: Namespace,
    name: Name,
    version: Annotated[str, Path(max_length=255)],
    accelerator: Annotated[str | None, Query(max_length=16)] = None,
    platform: Annotated[str | None, Query(max_length=64)] = None,
) -> HTMLResponse:
    """What is in an image of a version, what came with it, and where to use it."""
    which = (accelerator or None, platform or None)
    shown = views.version(services.engine, f"{namespace}/{name}", version, which)
    settings = services.settings
    can = {"can_launch": settings.launch_url is not None, "can_look": bool(settings.cluster)}
    return page(request, "version.html", {**shown, **can})


@router.get("/status")
def show_status(request: Request) -> HTMLResponse:
    """The parts, the workers with their engines, and what waits."""
    return page(request, "status.html", {"status": request.app.state.probe.status()})


@router.get("/builds")
def list_builds(
    request: Request,
    engine: EngineDep,
    state: BuildState | None = None,
    before: Annotated[str | None, Query(max_length=64)] = None,
) -> HTMLResponse:
    """Builds, the newest first."""
    found = views.recent_builds(engine, state=state, before=before, limit=_PAGE)
    return page(request, "builds.html", {**found, "states": list(BuildState)})


@router.get("/builds/{build_id}")
def show_build(
    request: Request, services: ServicesDep, build_id: BuildId, launch: bool = False
) -> HTMLResponse:
    """A build and its log; with `launch`, on to a notebook once it is ready."""
    shown = views.build(services.engine, build_id)
    build = shown["build"]
    to = None
    if build.version is not None and (launch or services.settings.launch_url is not None):
        number = str(build.version)
        to = launcher.to_version(services.engine, services.settings, build.environment, number)
    return page(request, "build.html", {**shown, "launch": launch, "launch_to": to})


@router.get("/new/packages")
def complete_package(
    engine: EngineDep, q: Annotated[str, Query(min_length=1, max_length=100)]
) -> list[str]:
    """Names that begin with what was typed."""
    return complete.names(engine, q)


@router.get("/new")
def new_environment(
    request: Request,
    services: ServicesDep,
    like: Annotated[str, Query(max_length=127)] = "",
) -> HTMLResponse:
    """The form of a new environment, filled in as one that exists was built."""
    form = NewForm()
    if like:
        form = NewForm.of(like, views.request_of(services.engine, like), services.settings)
    context = {"form": form, "plan": None, "problem": None, "accelerators": list(Accelerator)}
    return page(request, "new.html", context)
