"""The answer of /v1/resolve, and a short way to it for the question that nearly everybody asks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.auth.guard import authorise
from api.environments.resolver import Answer
from api.services import Services

MAX_NAME_CHARS = 400
MAX_TAG_CHARS = 4096


class Quick(APIRoute):
    """A route that answers `GET ?env=NAME` without the framework's reading of dependencies.

    That costs more than all else of such a request; any other request goes the usual way, which
    checks what came and says what is wrong with it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        usual = super().get_route_handler()

        async def handle(request: Request) -> Response:
            asked = request.query_params.multi_items() if request.method == "GET" else []
            tag = request.headers.get("if-none-match")
            if [key for key, _ in asked] != ["env"] or len(tag or "") > MAX_TAG_CHARS:
                return await usual(request)
            name = asked[0][1]
            if not 0 < len(name) <= MAX_NAME_CHARS:
                return await usual(request)
            who = await authorise(request)
            services: Services = request.app.state.services
            return response(await services.resolver.resolve(who, name), tag)

        return handle


def response(found: Answer, if_none_match: str | None) -> Response:
    """The answer with its tag; 304 where the caller has it already."""
    headers = {"ETag": found.tag, "Cache-Control": "no-cache"}
    if if_none_match is not None and _matches(if_none_match, found.tag):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type="application/json")


def _matches(header: str, tag: str) -> bool:
    """Weak comparison, as RFC 9110 section 13.1.2 asks for."""
    given = [item.strip().removeprefix("W/") for item in header.split(",")]
    return "*" in given or tag in given
