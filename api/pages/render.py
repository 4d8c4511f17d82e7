"""Templates to responses: escaping, the filters of the templates, and what a browser may load."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from api.auth import session
from api.problems import Problem, ProblemError
from catalog.types import utcnow

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"

HEADERS: Mapping[str, str] = {
    # No inline script or style and nothing from elsewhere: text that got in stays text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
_AGES = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def page(
    request: Request, template: str, context: Mapping[str, Any], *, status: int = 200
) -> HTMLResponse:
    """The template as a whole page, or as the fragment that its name (`_….html`) says it is."""
    text = (
        _environment()
        .get_template(template)
        .render(**context, path=request.url.path, can_sign_out=session.COOKIE in request.cookies)
    )
    return HTMLResponse(text, status_code=status, headers=dict(HEADERS))


def problem_page(request: Request, error: ProblemError) -> Response:
    """A problem as people read it; who must sign in is sent there, and back afterwards."""
    if error.status == 401:
        return session.ask(request)
    problem: Problem = error.as_problem(request.url.path)
    response = page(request, "problem.html", {"problem": problem}, status=error.status)
    response.headers.update(error.headers or {})
    return response


def static_files() -> StaticFiles:
    """The style sheet, the script and the icon."""
    return StaticFiles(directory=_STATIC)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": size,
        "ago": ago,
        "took": took,
        "short": lambda digest: digest.removeprefix("sha256:")[:12],
        "when": lambda at: at.strftime("%Y-%m-%d %H:%M UTC"),
    }
    environment.globals["static"] = _static_url
    return environment


@cache
def _static_url(name: str) -> str:
    """The address of a file, another one whenever its bytes change."""
    digest = hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()
    return f"/static/{name}?{digest[:12]}"


def size(size_bytes: int) -> str:
    """Bytes in units of 1000, as the command prints them."""
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"


def ago(at: datetime) -> str:
    """How long ago that was, roughly."""
    seconds = (utcnow() - at).total_seconds()
    for unit, name in _AGES:
        if seconds >= unit:
            count = int(seconds // unit)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"


def took(seconds: float) -> str:
    """A duration such as 0.4 s or 3 min 20 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
