"""Signing in with a browser: the service's token once, then a cookie that only it can make.

The cookie holds an end and its HMAC under the token: nothing is stored, a new token ends every
session, and the token itself stays in no browser.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.problems import ProblemError, Slug
from api.services import Services

COOKIE = "kitbag_session"
LIFE_S = 12 * 3600
_SAFE = frozenset({"GET", "HEAD"})


def is_wanted(request: Request) -> bool:
    """Whether this server asks people to sign in."""
    return _token(request) is not None


def begin(request: Request, shown: str, then: str) -> Response | None:
    """The way on to `then` for who shows the token, else None."""
    token = _token(request)
    if token is None or not hmac.compare_digest(shown.encode(errors="replace"), token):
        return None
    response = RedirectResponse(local(then), status_code=303)
    response.set_cookie(
        COOKIE,
        _signed(token, int(time.time()) + LIFE_S),
        max_age=LIFE_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response


def end() -> Response:
    """Forget the session."""
    response = RedirectResponse("/sign-in", status_code=303)
    response.delete_cookie(COOKIE)
    return response


def ask(request: Request) -> Response:
    """The way to the form, and from there back to where the person wanted to go."""
    wanted = request.url.path if request.method in _SAFE else "/"
    if request.url.query and request.method in _SAFE:
        wanted += f"?{request.url.query}"
    return RedirectResponse(f"/sign-in?then={quote(wanted)}", status_code=303)


def is_signed_in(request: Request) -> bool:
    """Whether the request brings a session, sent by one of our own pages.

    `SameSite=Lax` lets a link from elsewhere, such as a commit's status, open a page; whatever
    changes something must come from a page of ours.
    """
    token = _token(request)
    cookie = request.cookies.get(COOKIE, "")
    end_s, _, _ = cookie.partition(".")
    if token is None or not end_s.isdecimal() or len(end_s) > 12 or int(end_s) < time.time():
        return False
    if not hmac.compare_digest(
        cookie.encode(errors="replace"), _signed(token, int(end_s)).encode()
    ):
        return False
    return request.method in _SAFE or is_own_page(request)


def is_own_page(request: Request) -> bool:
    """Whether a page of this server sent the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def require_own_page(request: Request) -> None:
    """Refuse a form that another site's page sent; what is no browser sends no such header."""
    headers = request.headers
    if ("sec-fetch-site" in headers or "origin" in headers) and not is_own_page(request):
        raise ProblemError(
            Slug.FORBIDDEN, "A page of another web site sent this; open the form here and send it."
        )


def local(path: str) -> str:
    """The path if it leads to this server, else the first page."""
    parts = urlsplit(path)
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe and not parts.scheme and not parts.netloc and path.isprintable() else "/"


def _token(request: Request) -> bytes | None:
    services: Services = request.app.state.services
    token = services.settings.api_token
    return None if token is None else token.get_secret_value().encode()


def _signed(token: bytes, end_s: int) -> str:
    mac = hmac.new(token, f"kitbag-session.{end_s}".encode(), hashlib.sha256).hexdigest()
    return f"{end_s}.{mac}"
