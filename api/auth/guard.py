"""The checks before any route, on the headers alone."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import secrets
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.auth import session
from api.problems import ProblemError, Slug
from api.services import Services

# Only for OpenAPI: it shows the lock in /docs.
_scheme = HTTPBearer(auto_error=False, description="The value of KITBAG_API_TOKEN.")


async def require_token(request: Request, _shown: Annotated[object, Depends(_scheme)]) -> None:
    """Refuse a call without the service's token or a session, if the service has a token."""
    services: Services = request.app.state.services
    token = services.settings.api_token
    if token is None:
        require_loopback(request)
        return
    if session.is_signed_in(request):
        return
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not _same(shown.strip(), token.get_secret_value()):
        raise ProblemError(
            Slug.UNAUTHORIZED,
            "This server asks for its token; send it as 'Authorization: Bearer TOKEN', or use "
            "'kitbag login'.",
            headers={"WWW-Authenticate": 'Bearer realm="kitbag"'},
        )


async def require_pull_token(request: Request) -> None:
    """Like `require_token` for container engines, which send the token as a Basic password."""
    services: Services = request.app.state.services
    token = services.settings.api_token
    if token is None:
        require_loopback(request)
        return
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    password = shown.strip() if kind.lower() == "bearer" else _password(kind, shown)
    if password is None or not _same(password, token.get_secret_value()):
        raise ProblemError(
            Slug.UNAUTHORIZED,
            "This server asks for its token; log in with any user name and the token as password.",
            headers={"WWW-Authenticate": 'Basic realm="kitbag"'},
        )


def _password(kind: str, shown: str) -> str | None:
    if kind.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(shown.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return decoded.partition(":")[2]


def _same(shown: str, token: str) -> bool:
    return secrets.compare_digest(shown.encode(errors="replace"), token.encode())


def require_loopback(request: Request) -> None:
    """Without a token, keep out web pages in a browser on this machine.

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
