"""Has a line written for every request that changes something, before it is answered."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.audit import subject
from api.audit.journal import Journal
from api.http.request_id import current_request_id
from catalog.audit_models import AuditLine

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
ASKING = frozenset(
    {
        "POST /v1/plans",
        "POST /v1/resolve",
        "POST /v1/pins",
        "POST /new/plan",
        "POST /admission",
        "POST /admission/{key}",
        "POST /admission/validate",
        "POST /admission/validate/{key}",
        "POST /admission/default/{environment}",
        "POST /admission/default/{environment}/{key}",
    }
)
"""What is sent with POST and changes nothing."""

_MAX_CHARS = 500


class Audited:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in CHANGING:
            await self._app(scope, receive, send)
            return
        noted = subject.begin()

        async def write_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                line = _line(scope, message, noted)
                if line is not None:
                    await self._journal.write(line)
            await send(message)

        await self._app(scope, receive, write_and_send)


def _line(scope: Scope, message: Message, noted: dict[str, str]) -> AuditLine | None:
    """The line of a request; None for what only asks, or is no route."""
    route = scope.get("route")
    path = getattr(route, "path", None)
    if path is None or f"{scope['method']} {path}" in ASKING or "nothing" in noted:
        return None
    state: dict[str, Any] = scope.get("state") or {}
    who = state.get("principal")
    client = scope.get("client")
    location = Headers(raw=message["headers"]).get("location", "")
    return AuditLine(
        user=who.user if who is not None else "",
        kind=who.kind if who is not None else "unknown",
        address=(client[0] if client else "")[:64],
        action=str(getattr(route, "operation_id", None) or getattr(route, "name", ""))[:64],
        target=scope["path"][:_MAX_CHARS],
        subject=(noted.get("subject") or _environment(scope))[:_MAX_CHARS],
        status=message["status"],
        made=str(state.get("problem") or location)[:_MAX_CHARS],
        request_id=current_request_id(),
    )


def _environment(scope: Scope) -> str:
    """NAMESPACE/NAME of the path, empty where it names none."""
    params = scope.get("path_params") or {}
    if "namespace" not in params or "name" not in params:
        return ""
    return f"{params['namespace']}/{params['name']}"
