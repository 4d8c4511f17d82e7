"""Sessions of browsers: cookies that only this server can make, and what other sites may send.

A cookie holds who signed in, until when, and the HMAC of that under a key that follows from the
server's secrets: nothing is stored, other secrets end every session, and no secret stays in a
browser.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth.settings import IdentitySettings
from api.problems import ProblemError, Slug

COOKIE = "kitbag_session"
LIFE_S = 12 * 3600
_MAX_CHARS = 4096
_SAFE = frozenset({"GET", "HEAD"})


class Seal:
    """Makes texts that only this server can have made, for one purpose each."""

    def __init__(self, settings: IdentitySettings) -> None:
        secrets = [settings.api_token, settings.hook_key]
        given = [secret.get_secret_value() for secret in secrets if secret is not None]
        text = json.dumps(["kitbag-seal", *given])
        self._key = hashlib.sha256(text.encode()).digest() if given else None

    @property
    def can(self) -> bool:
        """Whether the server has a secret to make them with."""
        return self._key is not None

    def sealed(self, purpose: str, content: Mapping[str, Any], life_s: float) -> str:
        """The content, good for so long."""
        whole = {**content, "end": int(time.time() + life_s)}
        data = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
        body = base64.urlsafe_b64encode(data).decode().rstrip("=")
        return f"{body}.{self._mac(purpose, body)}"

    def opened(self, purpose: str, text: str) -> Mapping[str, Any] | None:
        """The content; None for what this server did not make for that, or what has ended."""
        body, _, mac = text.partition(".")
        if self._key is None or len(text) > _MAX_CHARS:
            return None
        if not hmac.compare_digest(mac.encode(errors="replace"), self._mac(purpose, body).encode()):
            return None
        try:
            found: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * 3))
        except (binascii.Error, ValueError):
            return None
        return found if found["end"] > time.time() else None

    def _mac(self, purpose: str, body: str) -> str:
        assert self._key is not None
        text = f"{purpose}.{body}".encode(errors="replace")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def begun(request: Request, seal: Seal, content: Mapping[str, Any], then: str) -> Response:
    """The way on to `then`, with a session of what is in `content`."""
    response = RedirectResponse(local(then), status_code=303)
    response.set_cookie(
        COOKIE,
        seal.sealed(COOKIE, content, LIFE_S),
        max_age=LIFE_S,
        httponly=True,
        samesite="lax",
        secure=is_over_tls(request),
    )
    return response


def of(request: Request, seal: Seal) -> Mapping[str, Any] | None:
    """What the request's session says, if one of our own pages sent the request.

    `SameSite=Lax` lets a link from elsewhere, such as a commit's status, open a page; whatever
    changes something must come from a page of ours.
    """
    content = seal.opened(COOKIE, request.cookies.get(COOKIE, ""))
    if content is None or not (request.method in _SAFE or is_own_page(request)):
        return None
    return content


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


def is_over_tls(request: Request) -> bool:
    """Whether the browser came over TLS, as this server or its public address knows."""
    public: str | None = request.app.state.services.settings.public_url
    return request.url.scheme == "https" or bool(public and public.startswith("https://"))


def is_own_page(request: Request) -> bool:
    """Whether a page of this server sent the request."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def require_own_page(request: Request) -> None:
    """Refuse what another site's page sent; what is no browser sends no such header."""
    headers = request.headers
    if ("sec-fetch-site" in headers or "origin" in headers) and not is_own_page(request):
        raise ProblemError(
            Slug.FORBIDDEN, "A page of another web site sent this; open the form here and send it."
        )


def is_safe(request: Request) -> bool:
    """Whether the request only looks."""
    return request.method in _SAFE


def local(path: str) -> str:
    """The path if it leads to this server, else the first page."""
    parts = urlsplit(path)
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe and not parts.scheme and not parts.netloc and path.isprintable() else "/"
