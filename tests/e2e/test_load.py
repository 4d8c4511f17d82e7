"""A little of what `tests/load/run.py` does much of."""

from __future__ import annotations

import asyncio

from e2e.servers import Embedded
from load import steps
from load.callers import Caller, Timings


def port_of(server: Embedded) -> int:
    return int(server.url.rpartition(":")[2])


def test_identical_requests_at_once_come_to_one_build_that_all_are_told_of(
    embedded: Embedded,
) -> None:
    port = port_of(embedded)
    ids, _, statuses = asyncio.run(steps.at_once(port, 60, "load/same"))
    assert len(ids) == 1
    assert statuses == {202: 1, 200: 59}
    assert embedded.wait(ids.pop())["state"] == "ready"


def test_one_build_is_begun_before_most_of_somebody_else_s(embedded: Embedded) -> None:
    port = port_of(embedded)
    many = [f"load-many/e{number}" for number in range(14)]

    async def ask() -> tuple[list[dict[str, object]], dict[str, object]]:
        timings = Timings()
        big = await steps.submit(port, many, timings)
        (small,) = await steps.submit(port, ["load-one/e"], timings)
        follower = Caller(port)
        assert await follower.follow(str(small["id"])) == "ready"
        found = await steps.ended(port, [*big, small], 240)
        return found[:-1], found[-1]

    big, small = asyncio.run(ask())
    assert {build["state"] for build in [*big, small]} == {"ready"}
    # One has its turn, and both workers may have been about to take another.
    assert steps.begun_before(small, big) <= 4
