"""Many followers of builds, one query a tick.

Followers of one build share a channel. A single task asks the catalog for the newest event number
of all followed builds at once, reads what is new once a build, and wakes the followers. Each
follower keeps only its own position: what the channel no longer holds it reads from the catalog
itself, so a slow one costs no memory and one that leaves costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.builds.schemas import EventOut
from catalog import events
from catalog.build_models import Event, EventKind
from catalog.engine import reading

log = logging.getLogger(__name__)
_KEPT = 1000
_AT_ONCE = 500
_AWAY_S = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """An event, written as JSON once for all followers."""

    seq: int
    kind: EventKind
    text: str

    @classmethod
    def of(cls, event: Event) -> Told:
        """The event as followers get it."""
        return cls(event.seq, event.kind, EventOut.of(event).model_dump_json())


class Channel:
    """What the followers of one build share."""

    def __init__(self) -> None:
        self.followers = 0
        self.head = 0
        self._kept: deque[Told] = deque(maxlen=_KEPT)
        self._news = asyncio.Event()

    def add(self, told: list[Told]) -> None:
        """Hold new events and wake the followers."""
        self._kept.extend(told)
        self.head = told[-1].seq
        self._news.set()
        self._news = asyncio.Event()

    def after(self, seq: int) -> list[Told] | None:
        """The events behind number `seq`; None if the catalog must be asked."""
        if not self._kept or self._kept[0].seq > seq + 1:
            return None
        return [told for told in self._kept if told.seq > seq][:_AT_ONCE]

    async def wait(self, seq: int) -> None:
        """Return once an event behind number `seq` is there."""
        while self.head <= seq:
            await self._news.wait()


class Hub:
    """The channels of one event loop."""

    def __init__(self, engine: Engine, *, poll_s: float) -> None:
        self._engine = engine
        self._poll_s = poll_s
        self._channels: dict[str, Channel] = {}
        self._poller: asyncio.Task[None] | None = None
        # Of its own, so that waiting for the catalog never waits for other requests.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="events")

    @property
    def follower_count(self) -> int:
        """Followers of all builds."""
        return sum(channel.followers for channel in self._channels.values())

    async def follow(self, build_id: str, after: int) -> AsyncGenerator[Told, None]:
        """The build's events behind number `after`, as they come, up to and with `done`.

        `after` may not be above the number of the newest event.
        """
        with self._channel(build_id) as channel:
            seq = after
            while True:
                told = channel.after(seq)
                if told is None:
                    try:
                        told = await self._read(build_id, seq)
                    except SQLAlchemyError:
                        # The poller tells the log; a follower keeps its place meanwhile.
                        await asyncio.sleep(_AWAY_S)
                        continue
                for item in told:
                    yield item
                    seq = item.seq
                    if item.kind is EventKind.DONE:
                        return
                if not told:
                    await channel.wait(seq)

    @contextmanager
    def _channel(self, build_id: str) -> Iterator[Channel]:
        channel = self._channels.setdefault(build_id, Channel())
        channel.followers += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="kitbag-events")
        try:
            yield channel
        finally:
            channel.followers -= 1
            if not channel.followers:
                del self._channels[build_id]

    async def _read(self, build_id: str, seq: int) -> list[Told]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._told, build_id, seq)

    def _told(self, build_id: str, seq: int) -> list[Told]:
        with reading(self._engine) as session:
            return [Told.of(event) for event in events.after(session, build_id, seq, _AT_ONCE)]

    async def _poll(self) -> None:
        """Runs while anybody follows anything."""
        loop = asyncio.get_running_loop()
        while self._channels:
            seen = {build_id: channel.head for build_id, channel in self._channels.items()}
            try:
                news = await loop.run_in_executor(self._threads, self._news, seen)
            except Exception as error:  # noqa: BLE001 - followers must not wait for ever
                # They keep their places, and go on when the catalog is back.
                log.warning("the event poller can't ask the catalog: %s", error)
                await asyncio.sleep(_AWAY_S)
                continue
            for build_id, told in news.items():
                channel = self._channels.get(build_id)
                if channel is not None and channel.head == seen[build_id]:
                    channel.add(told)
            await asyncio.sleep(self._poll_s)

    def _news(self, seen: dict[str, int]) -> dict[str, list[Told]]:
        """What is new of each build: one query for all, and one a build that has news."""
        news: dict[str, list[Told]] = {}
        with reading(self._engine) as session:
            for build_id, (head, _state) in events.heads(session, seen).items():
                if head > seen[build_id]:
                    # A channel's first look takes the tail: followers read the rest themselves.
                    start = seen[build_id] or max(0, head - _AT_ONCE)
                    found = events.after(session, build_id, start, _AT_ONCE)
                    news[build_id] = [Told.of(event) for event in found]
        return {build_id: told for build_id, told in news.items() if told}

    async def close(self) -> None:
        """Stop asking; followers must have gone."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        self._threads.shutdown(wait=False)
