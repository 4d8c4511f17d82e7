"""Every exception becomes a problem, or under /v2 an error of the distribution specification."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from api.http.request_id import current_request_id
from api.problems.kinds import Slug, slug_of
from api.problems.model import MEDIA_TYPE, ProblemError
from api.problems.validation import sentence
from api.pulls.errors import is_pull, pull_error
from catalog.errors import CatalogError

log = logging.getLogger(__name__)
_CATALOG_AWAY = (OperationalError, InterfaceError, PoolTimeoutError)


class RefusedBodyError(HTTPException):
    """Passes through FastAPI's body reading, which turns other exceptions into a 400."""

    def __init__(self, problem: ProblemError) -> None:
        super().__init__(problem.status)
        self.problem = problem


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(CatalogError, _on_catalog)
    for kind in _CATALOG_AWAY:
        app.add_exception_handler(kind, _on_catalog_away)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)


def response_to(request: Request, error: ProblemError) -> Response:
    """The error as the response that fits the path, and for a person at a page as a page."""
    request.state.problem = str(error.slug)
    if is_pull(request.url.path):
        return pull_error(error)
    show = getattr(request.app.state, "problem_page", None) if "app" in request.scope else None
    if show is not None and _is_page(request):
        page: Response = show(request, error)
        return page
    return JSONResponse(
        error.as_problem(request.url.path).model_dump(exclude_none=True),
        status_code=error.status,
        headers=error.headers,
        media_type=MEDIA_TYPE,
    )


def _is_page(request: Request) -> bool:
    path = request.url.path
    programs = path.startswith(("/v1/", "/metrics", "/healthz", "/readyz", "/docs"))
    programs = programs and not path.startswith("/v1/launch/")  # links for people
    return not programs and "text/html" in request.headers.get("accept", "")


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return response_to(request, error)


async def _on_catalog(request: Request, error: Exception) -> Response:
    assert isinstance(error, CatalogError)
    slug = slug_of(error.type)
    if slug is Slug.INTERNAL:
        return surprise(request, error)
    headers = {"Retry-After": "5"} if slug is Slug.NOT_MIRRORED else None
    return response_to(request, ProblemError(slug, str(error), headers=headers))


async def _on_catalog_away(request: Request, error: Exception) -> Response:
    # One line each: while the database is away every request comes here.
    cause = getattr(error, "orig", None) or error
    log.error("request %s: the catalog does not answer: %s", current_request_id(), cause)
    told = ProblemError(
        Slug.UNAVAILABLE,
        "The server's database does not answer; see /readyz, and try again in a moment.",
        headers={"Retry-After": "5"},
    )
    return response_to(request, told)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return response_to(request, ProblemError(Slug.INVALID_REQUEST, sentence(error.errors())))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, RefusedBodyError):
        return response_to(request, error.problem)
    headers: Mapping[str, str] = error.headers or {}
    path = request.url.path
    if error.status_code == 404:
        told = ProblemError(
            Slug.NOT_FOUND, f"There is nothing at {path[:200]}; see /docs for what is where."
        )
    elif error.status_code == 405:
        told = ProblemError(
            Slug.INVALID_REQUEST,
            f"{request.method[:20]} is not possible at {path[:200]}; see /docs for what is.",
            status=405,
            headers=headers,
        )
    else:
        told = ProblemError(
            Slug.INVALID_REQUEST if error.status_code < 500 else Slug.INTERNAL,
            f"The request can't be read ({error.detail}); check it against /docs.",
            status=error.status_code,
            headers=headers,
        )
    return response_to(request, told)


def surprise(request: Request, error: Exception) -> Response:
    """Nothing of the exception reaches the caller but the id that finds it in the log."""
    request_id = current_request_id()
    log.error("request %s failed", request_id, exc_info=error)
    told = ProblemError(
        Slug.INTERNAL,
        f"Something went wrong in the service; tell its operator the request id {request_id}.",
    )
    return response_to(request, told)
