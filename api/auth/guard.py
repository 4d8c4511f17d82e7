"""The check before any route, on the headers alone: who asks, and whether they may."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.auth.errors import AwayError, CredentialError
from api.auth.principal import LOCAL, NOBODY, SERVER, Principal, Role
from api.auth.table import Need, Where, need_of
from api.problems import ProblemError, Slug
from api.pulls.errors import is_pull
from api.services import Services
from catalog import builds, environments
from catalog.engine import reading
from catalog.scope import within
from catalog.tokens import PREFIX

_scheme = HTTPBearer(auto_error=False, description="A token that this server knows.")


async def show_lock(_shown: Annotated[object, Depends(_scheme)]) -> None:
    """Does nothing but show the lock in /docs."""


async def authorise(request: Request) -> Principal:
    """Who asks, if they may do what the route does; kept as `request.state.principal`.

    What is in a namespace that they don't see isn't there (404); what they see and may not do is
    forbidden (403).
    """
    need = need_of(request.method, request.scope["route"])
    if need.where is Where.OPEN:
        principal = NOBODY
    elif need.where is Where.PROVEN:
        principal = SERVER
    else:
        principal = await identify(request)
        await _require(request, principal, need)
    request.state.principal = principal
    return principal


async def identify(request: Request) -> Principal:
    """Who asks; raises ProblemError for whoever is not known."""
    services: Services = request.app.state.services
    pull = is_pull(request.url.path)
    asks = services.settings.asks
    if not asks:
        require_loopback(request)
    try:
        principal = await services.identity.of(request, _shown(request, pull=pull))
    except CredentialError as error:
        if not asks and not _shows_token(request, pull=pull):
            return LOCAL  # whatever else a client sends to whom nobody asked
        raise _unknown(pull=pull, why=str(error)) from error
    except AwayError as error:
        raise ProblemError(Slug.UNAVAILABLE, str(error), headers={"Retry-After": "10"}) from error
    if principal is not None:
        return principal
    if not asks:
        return LOCAL
    raise _unknown(pull=pull)


async def _require(request: Request, principal: Principal, need: Need) -> None:
    if principal.is_operator:
        return
    if need.where is Where.PATH:
        namespace = request.path_params["namespace"]
        if principal.role_in(namespace) is None:
            name = request.path_params["name"].partition(":")[0]
            raise environments.missing(f"{namespace}/{name}")
        principal.require(need.role, namespace)
    elif need.where is Where.BUILD and need.role is not Role.READER:
        # A reader needs no question: to whom the build is hidden the route itself finds none.
        build_id = request.path_params["build_id"]
        namespace = await to_thread.run_sync(_namespace_of, request, principal, build_id)
        principal.require(need.role, namespace)


def _namespace_of(request: Request, principal: Principal, build_id: str) -> str:
    services: Services = request.app.state.services
    with reading(within(services.engine, principal.scope)) as catalog:
        return builds.get(catalog, build_id).environment.namespace


def _shown(request: Request, *, pull: bool) -> str | None:
    """The credential in the headers; container engines send it as a Basic password."""
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return shown.strip()
    return _password(kind, shown) if pull else None


def _password(kind: str, shown: str) -> str | None:
    if kind.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(shown.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return decoded.partition(":")[2]


def _shows_token(request: Request, *, pull: bool) -> bool:
    return (_shown(request, pull=pull) or "").startswith(PREFIX)


def _unknown(*, pull: bool, why: str = "") -> ProblemError:
    said = (
        f"This server does not take the token: {why}; " if why else "This server asks for a token; "
    )
    how = (
        "log in with any user name and the token as password."
        if pull
        else "send one as 'Authorization: Bearer TOKEN', or use 'kitbag login'."
    )
    kind = "Basic" if pull else "Bearer"
    return ProblemError(
        Slug.UNAUTHORIZED, said + how, headers={"WWW-Authenticate": f'{kind} realm="kitbag"'}
    )


def require_loopback(request: Request) -> None:
    """Where nobody is asked, keep out web pages in a browser on this machine.

    A page can send requests to loopback, and by rebinding its own name to 127.0.0.1 read the
    answers; then the Host is its name. `Sec-Fetch-Site` tells of a page of another site, which may
    link here but not send anything.
    """
    if not _is_loopback(request.headers.get("host", "")):
        raise ProblemError(
            Slug.FORBIDDEN,
            "This server has no token and answers to localhost only; set KITBAG_API_TOKEN to use "
            "it under another name.",
        )
    from_elsewhere = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if from_elsewhere and not _is_link(request):
        raise ProblemError(
            Slug.FORBIDDEN,
            "A page of another web site sent this; set KITBAG_API_TOKEN to call the API from it.",
        )


def _is_link(request: Request) -> bool:
    """Whether a person followed a link here: the answer is shown to them and to no page."""
    headers = request.headers
    return (
        request.method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _is_loopback(host: str) -> bool:
    name = re.sub(r":\d+$", "", host.lower())
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
