"""Thousands of callers of one server in one event loop: HTTP/1.1 by hand, for it must be cheap."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Answer:
    """A status, a body, and how long it took from the first byte sent."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Timings:
    """How long answers took, and those that were no success."""

    seconds: list[float] = field(default_factory=list)
    refused: dict[int, int] = field(default_factory=dict)

    def add(self, answer: Answer) -> Answer:
        self.seconds.append(answer.seconds)
        if answer.status >= 400:
            self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
        return answer

    def ms(self, quantile: float) -> float:
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


class Caller:
    """One connection to a port of this machine, kept open between requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """An answer of any status; once more on a connection that the server has closed."""
        began = time.perf_counter()
        data = b"" if body is None else json.dumps(body).encode()
        for last in (False, True):
            try:
                await self._send(method, path, data)
                status, length = await self._head()
                assert self._reader is not None
                return Answer(
                    status, await self._reader.readexactly(length), time.perf_counter() - began
                )
            except (ConnectionError, asyncio.IncompleteReadError):
                await self.close()
                if last:
                    raise
        raise AssertionError

    async def follow(self, build_id: str) -> str:
        """The state that a build's stream of events ends with."""
        await self._send("GET", f"/v1/builds/{build_id}/events", b"")
        assert self._reader is not None
        status, _ = await self._head()
        assert status == 200, status
        kind = ""
        while line := await self._reader.readline():
            text = line.decode().strip()
            if text.startswith("event: "):
                kind = text.removeprefix("event: ")
            elif text.startswith("data: ") and kind == "done":
                await self.close()
                return str(json.loads(text.removeprefix("data: "))["data"]["state"])
        raise AssertionError(f"the stream of {build_id} ended without an end of the build")

    async def _send(self, method: str, path: str, data: bytes) -> None:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{self._port}\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + data)
        await self._writer.drain()

    async def _head(self) -> tuple[int, int]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = 0
        for line in head.split("\r\n"):
            if line.startswith("content-length:"):
                length = int(line.partition(":")[2])
        return int(head.split(" ", 2)[1]), length

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@asynccontextmanager
async def callers(port: int, count: int) -> AsyncIterator[list[Caller]]:
    """That many callers, closed at the end."""
    made = [Caller(port) for _ in range(count)]
    try:
        yield made
    finally:
        for caller in made:
            await caller.close()


async def share(work: Iterable[Any], among: Sequence[Caller], do: Any) -> list[Any]:
    """What `do(caller, item)` gives for each item, done by all callers at the same time."""
    items = list(work)
    given: list[Any] = [None] * len(items)
    left = iter(range(len(items)))

    async def go(caller: Caller) -> None:
        for number in left:
            given[number] = await do(caller, items[number])

    await asyncio.gather(*(go(caller) for caller in among))
    return given
