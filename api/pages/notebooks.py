"""Starting a notebook from a page, and looking for what runs an environment in the cluster."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Path, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.builds.request import Accelerator
from api.cluster import service
from api.cluster.routes import UserDep
from api.cluster.schemas import Launch, NotebookForm, Uses
from api.environments import service as environments
from api.jobs.routes import JobId
from api.jobs.schemas import Job
from api.pages.render import page
from api.pages.routes import Name, Namespace
from api.problems import Problem, ProblemError, Slug
from api.problems.validation import sentence
from api.services import Services, ServicesDep
from api.text import Text
from catalog.errors import CatalogError

router = APIRouter(include_in_schema=False)

Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class LaunchForm(BaseModel):
    """What the form holds, as it was typed."""

    model_config = ConfigDict(extra="ignore")

    name: Text = Field("", max_length=255)
    namespace: Text = Field("", max_length=255)
    form: NotebookForm = NotebookForm.NOTEBOOK
    home: Text = Field("", max_length=32)
    cpu: Text = Field("", max_length=32)
    memory: Text = Field("", max_length=32)
    accelerator: Text = Field("", max_length=16)
    accelerators: Text = Field("", max_length=8)
    pod_config: Text = Field("", max_length=256)

    def asked(self, version: str) -> Launch:
        """The launch; raises ProblemError with a sentence for the person at the form."""
        said = {name: value.strip() for name, value in self.model_dump(mode="json").items()}
        try:
            return Launch.model_validate(
                {"version": version} | {name: value for name, value in said.items() if value}
            )
        except ValidationError as error:
            raise ProblemError(Slug.INVALID_REQUEST, sentence(error.errors())) from error


@router.get("/environments/{namespace}/{name}/launch/{number}")
def ask_to_launch(
    request: Request, services: ServicesDep, namespace: Namespace, name: Name, number: Number
) -> HTMLResponse:
    """The form of a notebook."""
    form = LaunchForm(name=service.derived(name), namespace=namespace)
    return _form(request, services, f"{namespace}/{name}", number, form)


@router.post("/environments/{namespace}/{name}/launch/{number}")
def launch(
    request: Request,
    services: ServicesDep,
    user: UserDep,
    namespace: Namespace,
    name: Name,
    number: Number,
    form: Annotated[LaunchForm, Form()],
) -> Response:
    """Begin to start the notebook and go to its page; or say above the form what is wrong."""
    environment = f"{namespace}/{name}"
    try:
        job = service.launch(services, form.asked(f"{environment}:{number}"), user)
    except (ProblemError, CatalogError) as error:
        problem = _problem(error)
        return _form(request, services, environment, number, form, problem)
    return RedirectResponse(f"/launches/{job.id}", status_code=303)


@router.get("/launches/{id}")
def show_launch(request: Request, services: ServicesDep, id: JobId) -> HTMLResponse:  # noqa: A002
    """How far a launch is, and the way to the notebook."""
    job = service.launching(services, id)
    return page(request, "launched.html", {"job": job, "problem": _problem_of(job)})


@router.post("/environments/{namespace}/{name}/uses")
def look(services: ServicesDep, user: UserDep, namespace: Namespace, name: Name) -> Response:
    """Look for what runs the environment, and go to where it is shown."""
    job = service.look(services, Uses(environment=f"{namespace}/{name}"), user)
    return RedirectResponse(f"/uses/{job.id}", status_code=303)


@router.get("/uses/{id}")
def show_uses(request: Request, services: ServicesDep, id: JobId) -> HTMLResponse:  # noqa: A002
    """The objects that run an environment, once they are found."""
    job = service.looking(services, id)
    environment = service.environment_of(services, id)
    latest = environments.get(services.engine, environment).versions
    context = {
        "job": job,
        "problem": _problem_of(job),
        "environment": environment,
        "latest": latest,
    }
    return page(request, "uses.html", context)


def _form(
    request: Request,
    services: Services,
    environment: str,
    number: int,
    form: LaunchForm,
    problem: Problem | None = None,
) -> HTMLResponse:
    version = environments.version(services.engine, environment, str(number))
    has = {image.accelerator for image in version.images}
    context: dict[str, Any] = {
        "version": version,
        "form": form,
        "problem": problem,
        "accelerators": [one for one in Accelerator if one.value in has],
        "workspaces": services.settings.workspace_kind,
        "forms": list(NotebookForm),
    }
    status = problem.status if problem else 200
    return page(request, "start.html", context, status=status)


def _problem(error: ProblemError | CatalogError) -> Problem:
    if isinstance(error, CatalogError):
        error = ProblemError(Slug(error.type), str(error))
    return error.as_problem()


def _problem_of(job: Job) -> Problem | None:
    return None if job.problem is None else Problem.model_validate(job.problem)
