"""Counts every request under its route's template, never under its path."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics.registry import Metrics

log = logging.getLogger("kitbag.access")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counted:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answered = False

        async def send_and_count(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start" and not answered:
                answered = True
                self._count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_and_count)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.seconds.labels(route, method).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            _tell(scope, method, route, status, seconds)


def _tell(scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
    """A line for the log: the route and not the path, in which a key may stand."""
    client = scope.get("client")
    facts = {
        "address": client[0] if client else "",
        "method": method,
        "route": route,
        "status": status,
        "seconds": round(seconds, 6),
    }
    log.info("%s %s is answered with %s", method, route, status, extra={"facts": facts})
