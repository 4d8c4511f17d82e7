"""A span for every request, below the caller's own where that sends a `traceparent`."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.request_id import current_request_id
from telemetry import tracing

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_UNTOLD = frozenset({"/healthz", "/readyz", "/metrics"})


class Traced:
    """ASGI middleware; only there where traces are on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTOLD:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("traceparent", "")
        with tracing.span(
            scope["method"],
            {"http.request.method": scope["method"], "kitbag.request": current_request_id()},
            parent=given if _TRACEPARENT.fullmatch(given) else None,
            kind="server",
        ) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start" and span is not None:
                    route = getattr(scope.get("route"), "path", "unmatched")
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, send_and_note)
