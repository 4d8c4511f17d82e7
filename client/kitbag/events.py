"""A build's events as they happen, over connections that may break.

Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx

from kitbag.builds import Event, EventKind
from kitbag.errors import KitbagError, StillRunningError, UnreachableError
from kitbag.transport import Transport

# The server says something every 15 s, if only a comment.
_SILENCE_S = 45.0
_PATIENCE_S = 120.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0
_MAX_EVENT_CHARS = 1024 * 1024


@dataclass(frozen=True)
class Message:
    """One server-sent event; `id` is the last one seen, None before the first."""

    event: str
    data: str
    id: str | None


def messages(lines: Iterable[str]) -> Iterator[Message | None]:
    """The messages in these lines, None for an empty one such as a comment that keeps the line up.

    One that the stream breaks off in the middle is not among them: the next connection gets it
    whole. Raises KitbagError for a message of over a million characters.
    """
    event, data, size, last = "", list[str](), 0, None
    for line in lines:
        if not line:
            yield Message(event or "message", "\n".join(data), last) if data else None
            event, data, size = "", [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        size += len(line)
        if size > _MAX_EVENT_CHARS:
            raise KitbagError("the server sent an event of over a million characters: update it")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            last = value


def follow(
    transport: Transport, path: str, *, after: int = 0, timeout_s: float | None = None
) -> Iterator[Event]:
    """The events at this path behind number `after`, each once and in order, until the last.

    A broken connection is made again from the last event on, with growing pauses; UnreachableError
    once the server has been silent for two minutes, StillRunningError after `timeout_s`. Problems
    that the server names raise at once.
    """
    pause_s = _FIRST_PAUSE_S
    heard_at = time.monotonic()
    deadline = math.inf if timeout_s is None else heard_at + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise StillRunningError(
                f"the build is not ready after {timeout_s:g} s: it goes on, and `kitbag logs -f`"
                " follows it"
            )
        try:
            for event in _once(transport, path, after, min(left_s, _SILENCE_S)):
                pause_s, heard_at = _FIRST_PAUSE_S, time.monotonic()
                if event and event.seq > after:
                    after = event.seq
                    yield event
                    # The reader may have taken its time: that was not the server's silence.
                    heard_at = time.monotonic()
                    if event.kind is EventKind.DONE:
                        return
                if heard_at > deadline:
                    break
        except _NothingMore:
            return
        except UnreachableError:
            if time.monotonic() - heard_at > _PATIENCE_S:
                raise
        # Many clients lose the same server at the same moment; they shouldn't come back in step.
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        left_s = max(deadline - time.monotonic(), 0)
        time.sleep(min(pause_s * random.uniform(0.5, 1.0), left_s))  # noqa: S311


class _NothingMore(Exception):  # noqa: N818 - no error
    """The build has ended and every event of it was seen."""


def _once(transport: Transport, path: str, after: int, silence_s: float) -> Iterator[Event | None]:
    """The events of one connection; None for anything else that shows that the server is there."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if after:
        headers["Last-Event-ID"] = str(after)
    with transport.stream(path, headers, read_timeout_s=silence_s) as response:
        if response.status_code == httpx.codes.NO_CONTENT:
            raise _NothingMore
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "text/event-stream":
            raise KitbagError(f"{transport.url} answers like no Kitbag server: check KITBAG_URL")
        yield None
        for message in messages(_lines(response)):
            yield parse(message.data) if message else None


def parse(data: str) -> Event:
    """The event in a message's data; KitbagError if there is none."""
    try:
        return Event.from_json(json.loads(data))
    except (ValueError, KeyError, TypeError) as error:
        raise KitbagError(
            "the server sent an event that this kitbag doesn't know: update the client"
        ) from error


def _lines(response: httpx.Response) -> Iterator[str]:
    """The lines of a stream, each as soon as it ends: by \\r\\n, \\n or \\r and nothing else."""
    rest, after_return = "", False
    for text in response.iter_text():
        if not text:
            continue
        # A \n that follows the \r of the text before is the second half of that line's end.
        fresh = text[1:] if after_return and text.startswith("\n") else text
        after_return = text.endswith("\r")
        *lines, rest = (rest + fresh).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from lines
        if len(rest) > _MAX_EVENT_CHARS:
            raise KitbagError("the server sent an event of over a million characters: update it")
