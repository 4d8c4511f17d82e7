"""/v1/launch/…: a GET only ever looks; what builds is the button of the page that it shows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Form, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from api.builds import service as building
from api.launcher import service
from api.launcher.service import Wanted
from api.pages.render import page
from api.pages.routes import Name, Namespace
from api.problems import ProblemError, Slug
from api.services import ServicesDep

router = APIRouter(prefix="/v1/launch", include_in_schema=False)

_GIT = b"/v1/launch/git/"
Url = Annotated[str, Query(max_length=2000)]
Ref = Annotated[str, Query(max_length=255)]
Environment = Annotated[str, Query(max_length=127)]


@router.get("/git")
def launch_asked(
    request: Request, services: ServicesDep, repo: Url, ref: Ref = "", environment: Environment = ""
) -> Response:
    """The same as below where a proxy decodes paths."""
    return _look(request, services, Wanted(repo, ref or None, environment or None))


@router.get("/git/{rest:path}")
def launch_git(
    request: Request,
    services: ServicesDep,
    rest: str,  # noqa: ARG001 - decoded; the path as it was sent says where the repository ends
    environment: Environment = "",
) -> Response:
    """Start a notebook from {url-encoded repository}/{ref}, or ask whether to build it first."""
    sent: bytes = request.scope.get("raw_path") or request.url.path.encode()
    _, _, said = sent.partition(b"?")[0].partition(_GIT)
    return _look(request, services, Wanted.of_path(said, environment or None))


@router.post("/git")
async def build_and_launch(
    services: ServicesDep,
    tasks: BackgroundTasks,
    repo: Annotated[str, Form(max_length=2000)],
    ref: Annotated[str, Form(max_length=255)] = "",
    environment: Annotated[str, Form(max_length=127)] = "",
) -> Response:
    """Begin the build and go to its page, which goes on to the notebook."""
    asked = Wanted(repo, ref or None, environment or None).request()
    build, created = await run_in_threadpool(
        building.submit, services.engine, services.who, asked, services.quotas
    )
    if created:
        tasks.add_task(building.tell, services.queue, services.tell_slots, build.id)
    # Not straight to the notebook: a form leads, redirects and all, to this server alone
    # (form-action), and the page goes on by itself.
    return RedirectResponse(service.followed(build), status_code=303)


@router.get("/env/{namespace}/{name}")
def launch_version(services: ServicesDep, namespace: Namespace, name: Name) -> Response:
    """Start a notebook on NS/NAME[:VERSION]."""
    name, colon, wanted = name.partition(":")
    if colon and not wanted:
        raise ProblemError(Slug.INVALID_REQUEST, "Write a version behind the colon, or no colon.")
    environment = f"{namespace}/{name}"
    to = service.to_version(services.engine, services.settings, environment, wanted or "latest")
    return RedirectResponse(to, status_code=303)


def _look(request: Request, services: ServicesDep, wanted: Wanted) -> Response:
    asked = wanted.request()
    build = service.found(services.engine, asked)
    if build is not None:
        to = service.to_build(services.engine, services.settings, build)
        return RedirectResponse(to, status_code=303)
    context = {
        "wanted": wanted,
        "environment": asked.environment,
        "newest": service.newest(services.engine, asked),
    }
    return page(request, "launch.html", context)
