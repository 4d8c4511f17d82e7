"""What the pages' forms do: build, plan, cancel, build again, roll back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Form, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.builds import service as building
from api.builds.normal import NormalRequest
from api.builds.request import Accelerator
from api.environments import service as environments
from api.pages.forms import NewForm, NewFormDep
from api.pages.render import page
from api.pages.routes import BuildId, Name, Namespace
from api.plans import service as planning
from api.plans.schemas import Plan
from api.problems import Problem, ProblemError, Slug
from api.services import EngineDep, PrincipalDep, Services, ServicesDep
from catalog.errors import CatalogError

router = APIRouter(include_in_schema=False)


@router.post("/new")
async def build_or_plan(
    request: Request,
    services: ServicesDep,
    form: NewFormDep,
    tasks: BackgroundTasks,
    action: Annotated[str, Form(max_length=16)] = "build",
) -> Response:
    """Begin the build and go to its page; or show what would be built, above the same form."""
    try:
        asked = form.request()
        if action == "plan":
            return _form(request, form, plan=await planning.answered(services, asked))
        return await _submit(services, tasks, asked)
    except (ProblemError, CatalogError) as error:
        return _form(request, form, problem=_problem(error))


@router.post("/new/plan")
async def plan(request: Request, services: ServicesDep, form: NewFormDep) -> HTMLResponse:
    """The part of the form's page that says what would be built."""
    try:
        found = await planning.answered(services, form.request())
    except (ProblemError, CatalogError) as error:
        return page(request, "_plan.html", {"plan": None, "problem": _problem(error)})
    return page(request, "_plan.html", {"plan": found, "problem": None})


@router.post("/builds/{build_id}/cancel")
def cancel(engine: EngineDep, build_id: BuildId) -> Response:
    """Cancel the build and show it."""
    building.cancel(engine, build_id)
    return RedirectResponse(f"/builds/{build_id}", status_code=303)


@router.post("/builds/{build_id}/again")
async def again(services: ServicesDep, build_id: BuildId, tasks: BackgroundTasks) -> Response:
    """Ask once more for what the build was asked for."""
    build = await run_in_threadpool(building.get, services.engine, build_id)
    return await _submit(services, tasks, NormalRequest(build.environment, build.request))


@router.post("/environments/{namespace}/{name}/versions/{number}/rollback")
def rollback(
    engine: EngineDep,
    who: PrincipalDep,
    namespace: Namespace,
    name: Name,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
) -> Response:
    """Make the version the newest again."""
    environment = f"{namespace}/{name}"
    made = environments.rollback(engine, who, environment, str(number))
    return RedirectResponse(f"/environments/{environment}/versions/{made.number}", status_code=303)


@router.post("/environments/{namespace}/{name}/offer")
def offer(
    services: ServicesDep, namespace: Namespace, name: Name, offered: Annotated[bool, Form()]
) -> Response:
    """Offer the environment where notebooks start, or no longer."""
    environment = f"{namespace}/{name}"
    environments.offer(services.engine, services.settings, environment, offered)
    return RedirectResponse(f"/environments/{environment}", status_code=303)


async def _submit(services: Services, tasks: BackgroundTasks, asked: NormalRequest) -> Response:
    build, created = await run_in_threadpool(
        building.submit, services.engine, services.who, asked, services.quotas
    )
    if created:
        tasks.add_task(building.tell, services.queue, services.tell_slots, build.id)
    return RedirectResponse(f"/builds/{build.id}", status_code=303)


def _form(
    request: Request, form: NewForm, *, plan: Plan | None = None, problem: Problem | None = None
) -> HTMLResponse:
    context: dict[str, Any] = {"form": form, "accelerators": list(Accelerator)}
    status = problem.status if problem else 200
    return page(request, "new.html", context | {"plan": plan, "problem": problem}, status=status)


def _problem(error: ProblemError | CatalogError) -> Problem:
    if isinstance(error, CatalogError):
        error = ProblemError(Slug(error.type), str(error))
    return error.as_problem()
