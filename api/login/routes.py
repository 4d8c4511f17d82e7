"""/sign-in, /sign-out and /v1/logins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from api.auth import session
from api.login import provider, service
from api.login.schemas import LetIn, LoginOut, NewLogin, Poll
from api.pages.render import page
from api.problems import ProblemError, Slug, declared
from api.services import EngineDep, PrincipalDep, ServicesDep

sign_in_router = APIRouter(include_in_schema=False)
router = APIRouter(prefix="/v1/logins", tags=["identity"])

Local = Annotated[str, Form(max_length=2048)]
Code = Annotated[str, Query(max_length=20)]


@sign_in_router.get("/sign-in")
async def ask_to_sign_in(request: Request, services: ServicesDep, then: str = "/") -> HTMLResponse:
    """The form that takes a token, and the way to the identity provider."""
    return _form(request, services.settings.can_sign_in, session.local(then[:2048]))


@sign_in_router.post("/sign-in")
async def sign_in(
    request: Request,
    services: ServicesDep,
    token: Annotated[str, Form(max_length=4096)],
    then: Local = "/",
) -> Response:
    """Begin a session for who shows a good token."""
    session.require_own_page(request)
    identity = services.identity
    content = await identity.session_of(token.strip()) if identity.seal.can else None
    if content is not None:
        return session.begun(request, identity.seal, content, then)
    return _form(request, services.settings.can_sign_in, session.local(then), wrong=True)


@sign_in_router.get("/sign-in/provider")
async def go_to_provider(
    request: Request, services: ServicesDep, then: Annotated[str, Query(max_length=2048)] = "/"
) -> Response:
    """Sign in at the identity provider."""
    return await provider.begun(request, services.identity, then)


@sign_in_router.get(provider.CALLBACK)
async def come_from_provider(
    request: Request,
    services: ServicesDep,
    code: Annotated[str, Query(max_length=4096)] = "",
    state: Annotated[str, Query(max_length=255)] = "",
    error: Annotated[str, Query(max_length=255)] = "",
) -> Response:
    """Begin a session for whoever the identity provider sent back."""
    if error or not code:
        raise ProblemError(
            Slug.FORBIDDEN,
            f"The identity provider did not let you in ({error[:100] or 'it sent no code'}); try "
            "again, or ask its operator.",
        )
    return await provider.ended(request, services.identity, code=code, state=state)


@sign_in_router.get("/sign-in/command")
async def ask_about_command(
    request: Request, engine: EngineDep, who: PrincipalDep, code: Code = ""
) -> HTMLResponse:
    """Whether the command that shows this code is the person's own."""
    found, device = await run_in_threadpool(service.waiting, engine, code)
    context = {"code": found, "device": device, "user": who.user, "done": False}
    return page(request, "command.html", context)


@sign_in_router.post("/sign-in/command")
async def let_command_in(
    request: Request,
    engine: EngineDep,
    who: PrincipalDep,
    code: Annotated[str, Form(max_length=20)],
) -> HTMLResponse:
    """Let the command in as whoever is signed in."""
    session.require_own_page(request)
    await run_in_threadpool(service.let_in, engine, who, code)
    context = {"code": code, "device": "", "user": who.user, "done": True}
    return page(request, "command.html", context)


@sign_in_router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the session."""
    session.require_own_page(request)
    return session.end()


@router.post("", operation_id="begin_login", status_code=201)
def begin_login(asked: NewLogin, services: ServicesDep) -> LoginOut:
    """Wait to be let in: a person opens `path` in a browser, compares `code`, and agrees.

    Whoever holds `secret` gets the token then, by `POST /v1/logins/{id}`.
    """
    if not services.settings.asks:
        raise ProblemError(
            Slug.INVALID_REQUEST, "This server asks nobody who they are; no login is needed."
        )
    return service.begin(services.engine, asked.device)


@router.post("/{id}", operation_id="poll_login", responses=declared(Slug.LOGIN_NOT_FOUND))
def poll_login(
    id: Annotated[str, Path(max_length=26)],  # noqa: A002
    asked: Poll,
    services: ServicesDep,
) -> LetIn:
    """The token, once, when somebody let the command in; nulls until then."""
    return service.poll(services.engine, services.settings, id, asked.secret)


def _form(request: Request, can_sign_in: bool, then: str, *, wrong: bool = False) -> HTMLResponse:
    context = {"then": then, "wrong": wrong, "provider": can_sign_in}
    return page(request, "sign_in.html", context, status=403 if wrong else 200)
