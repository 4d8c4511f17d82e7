"""Limits of request bodies, kept while they are read, whether or not they say their length."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems.handlers import RefusedBodyError, response_to
from api.problems.kinds import Slug
from api.problems.model import ProblemError
from api.settings import ApiSettings
from api.text import human


class BodyLimit:
    """ASGI middleware; only multipart bodies may be as large as an archive.

    A review holds an object twice, which is more than a person sends.
    """

    def __init__(self, app: ASGIApp, settings: ApiSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive, send, self._settings)
        try:
            body.check_length()
            await self._app(scope, body.receive, body.send)
        except RefusedBodyError as error:
            await body.refuse(error.problem)


class _Body:
    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: ApiSettings) -> None:
        headers = Headers(scope=scope)
        multipart = headers.get("content-type", "").lower().startswith("multipart/form-data")
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = settings.max_upload_bytes if multipart else settings.max_json_bytes
        if scope["path"].removeprefix("/v1").startswith("/admission"):
            self._limit = settings.max_review_bytes
        if scope["path"].startswith("/v1/hooks/"):
            self._limit = settings.max_hook_bytes
        self._timeout_s = settings.body_timeout_s
        self._length = headers.get("content-length", "")
        self._got = 0
        self._whole = False
        self._started = False

    def check_length(self) -> None:
        if self._length.isdecimal() and int(self._length) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise RefusedBodyError(
                ProblemError(
                    Slug.TIMED_OUT,
                    f"Nothing of the body came for {self._timeout_s:g} seconds; send it again.",
                    status=408,
                    headers={"Connection": "close"},
                )
            ) from None
        if message["type"] == "http.request":
            self._got += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._got > self._limit:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        self._started = self._started or message["type"] == "http.response.start"
        await self._send(message)

    async def refuse(self, problem: ProblemError) -> None:
        if self._started:
            raise problem
        response = response_to(Request(self._scope), problem)
        await response(self._scope, self._receive, self._send)

    def _too_large(self) -> RefusedBodyError:
        # The rest of the body is not read, so the connection can't be used again.
        return RefusedBodyError(
            ProblemError(
                Slug.TOO_LARGE,
                f"The body is over {human(self._limit)}; send less, or put the files into a git "
                "repository and send its URL.",
                headers={"Connection": "close"},
            )
        )
