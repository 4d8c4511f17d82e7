"""What is asked of a server under load, each step with the facts that it is judged by."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from load.callers import Answer, Caller, Timings, callers, share

ENDED = ("ready", "failed", "cancelled")


def request(environment: str, *requirements: str) -> dict[str, Any]:
    files = {"requirements.txt": "\n".join(requirements or ("one",))}
    return {"environment": environment, "source": {"files": files}}


async def at_once(
    port: int, count: int, environment: str
) -> tuple[set[str], Timings, Counter[int]]:
    """The same request from many callers at once: the builds that came of it, and the statuses."""
    timings, gate = Timings(), asyncio.Event()

    async def go(caller: Caller) -> Answer:
        await caller.ask("GET", "/healthz")  # the connection is not what is measured
        await gate.wait()
        return timings.add(await caller.ask("POST", "/v1/builds", request(environment)))

    async with callers(port, count) as everyone:
        tasks = [asyncio.create_task(go(caller)) for caller in everyone]
        await asyncio.sleep(1)
        gate.set()
        answers = await asyncio.gather(*tasks)
    statuses = Counter(answer.status for answer in answers)
    return {answer.json()["id"] for answer in answers if answer.status < 300}, timings, statuses


async def submit(port: int, environments: Sequence[str], timings: Timings) -> list[dict[str, Any]]:
    """A build for each environment, in their order, by a few callers."""

    async def ask(caller: Caller, environment: str) -> dict[str, Any]:
        answer = timings.add(await caller.ask("POST", "/v1/builds", request(environment)))
        assert answer.status in (200, 202), answer.body
        return answer.json()  # type: ignore[no-any-return]

    async with callers(port, 4) as few:
        return await share(environments, few, ask)


async def ended(
    port: int, builds: Sequence[Mapping[str, Any]], timeout_s: float
) -> list[dict[str, Any]]:
    """The builds once all have ended; those that have not when the time is over, as they are."""
    deadline = time.monotonic() + timeout_s
    found: dict[str, dict[str, Any]] = {}

    async def look(caller: Caller, build_id: str) -> None:
        build = (await caller.ask("GET", f"/v1/builds/{build_id}")).json()
        found[build_id] = build

    async with callers(port, 2) as few:
        waiting = [build["id"] for build in builds]
        while waiting and time.monotonic() < deadline:
            # The last ones end last: there is no need to ask for all of them each time.
            await share(waiting[-20:], few, look)
            if all(found[build_id]["state"] in ENDED for build_id in waiting[-20:]):
                await share(waiting, few, look)
                waiting = [each for each in waiting if found[each]["state"] not in ENDED]
            await asyncio.sleep(0.3)
        await share([build["id"] for build in builds if build["id"] not in found], few, look)
    return [found[build["id"]] for build in builds]


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def begun_before(build: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> int:
    """How many of the others were begun while this one waited."""
    asked, began = moment(build["created_at"]), moment(build["started_at"])
    return sum(asked < moment(other["started_at"]) < began for other in others)


@dataclass(slots=True)
class Mix:
    """What users do in a day: reading most of the time, a build now and then."""

    environments: Sequence[str]
    new_share: float
    chance: random.Random
    made: int = 0

    def next(self) -> tuple[str, str, object]:
        known = self.chance.choice(self.environments)
        pick = self.chance.random()
        if pick < self.new_share:
            self.made += 1
            user = self.chance.randrange(5000)
            return "POST", "/v1/builds", request(f"user-{user}/new-{self.made}")
        if pick < 0.55:
            return "GET", f"/v1/resolve?env={known}", None
        if pick < 0.75:
            return "GET", f"/v1/environments/{known}", None
        if pick < 0.88:
            return "GET", "/v1/environments?limit=20", None
        if pick < 0.93:
            return "GET", "/", None
        return "POST", "/v1/builds", request(known)


async def day(
    port: int, mix: Mix, users: int, requests_a_user: float, seconds: float
) -> tuple[Timings, int, float]:
    """24 hours of so many users within `seconds`, busiest at noon; timings, requests, lag in s."""
    timings = Timings()
    total = int(users * requests_a_user)
    # Office hours: a triangle from 6 to 20 o'clock over a floor of a tenth.
    times = sorted(
        mix.chance.triangular(6, 20, 12) if mix.chance.random() < 0.9 else mix.chance.uniform(0, 24)
        for _ in range(total)
    )
    began = time.monotonic()
    late = 0.0

    async with callers(port, 32) as everyone:
        idle: asyncio.Queue[Caller] = asyncio.Queue()
        for caller in everyone:
            idle.put_nowait(caller)
        tasks: set[asyncio.Task[None]] = set()

        async def go(caller: Caller) -> None:
            try:
                timings.add(await caller.ask(*mix.next()))
            finally:
                idle.put_nowait(caller)

        for at in times:
            due = began + at / 24 * seconds
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            caller = await idle.get()
            late = max(late, time.monotonic() - due)
            task = asyncio.create_task(go(caller))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return timings, total, late
