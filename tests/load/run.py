"""A server under the load of a thousand users, on this machine and its loopback alone.

    python tests/load/run.py [--identical 1000] [--builds 2000] [--tenants 20] [--followers 500]
                             [--users 5000] [--day-s 120] [--postgres] [--json]

Starts API, two workers' processes and Redis of their own (SQLite, or PostgreSQL with --postgres),
asks as many as the options say, and prints a table; the exit code is 1 if something is not as it
must be. The load comes from the same machine, so the times are upper bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.servers import NO_REGISTRY, Deployed
from load import steps
from load.callers import Caller, Timings, callers
from rig.postgres import postgres_server
from rig.process import children
from rig.redis import redis_server
from rig.wheels import wheel_factory

GROWTH_MAX = 1.10


@dataclass
class Report:
    """Rows of the table, and what was not as it must be."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def tell(self, what: str, value: object) -> None:
        self.rows.append((what, str(value)))
        print(f"{what:<68} {value}", flush=True)

    def must(self, what: str, true: bool) -> None:
        if not true:
            self.wrong.append(what)
            print(f"WRONG: {what}", flush=True)


class Memory(threading.Thread):
    """Resident memory of processes and their children, sampled each second."""

    def __init__(self, server: Deployed) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._done = threading.Event()
        self.api: list[int] = []
        self.worker: list[int] = []

    def run(self) -> None:
        while not self._done.wait(1):
            self.api.append(_rss(self._server.api.pid))
            self.worker.append(_rss(self._server.workers[0].pid))

    def stop(self) -> None:
        self._done.set()
        self.join()


def _rss(pid: int | None) -> int:
    assert pid is not None
    total = 0
    for each in (pid, *children(pid)):
        try:
            pages = int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except OSError:
            continue
        total += pages * os.sysconf("SC_PAGE_SIZE")
    return total


def growth(samples: list[int]) -> float:
    """The median of the last quarter over that of the second: what is warm by then stays."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[-quarter:]) / statistics.median(samples[quarter : 2 * quarter])


@contextmanager
def server(folder: Path, *, postgres: bool) -> Iterator[Deployed]:
    with ExitStack() as stack:
        index = stack.enter_context(wheel_factory(folder / "index"))
        index.wheel("pip", "99.0")
        index.wheel("one", "1.0")
        redis = stack.enter_context(redis_server())
        url = f"sqlite:///{folder}/catalog.db"
        if postgres:
            url = stack.enter_context(postgres_server()).create_database()
        variables = {
            "KITBAG_DATA": str(folder / "data"),
            "KITBAG_DATABASE_URL": url,
            "KITBAG_BROKER_URL": redis.url,
            "KITBAG_STORE": f"oci:{folder}/layout",
            "KITBAG_INDEX_URL": index.index_url,
            "KITBAG_BASE_IMAGE": NO_REGISTRY,
            "KITBAG_LOCAL": "true",
            "KITBAG_RATE_LIMIT": "100000",
            "KITBAG_RATE_BURST": "1000000",
        }
        deployed = Deployed(folder / "data", variables, workers=1)
        try:
            deployed.start()
            yield deployed
        finally:
            deployed.stop()
            deployed.http.close()


async def probe(port: int, build_id: str, timings: Timings, done: asyncio.Event) -> None:
    """Asks what a person's page or notebook asks, twenty times a second."""
    caller = Caller(port)
    paths = ("/v1/environments?limit=20", f"/v1/builds/{build_id}", "/v1/resolve?env=first/one")
    number = 0
    while not done.is_set():
        timings.add(await caller.ask("GET", paths[number % len(paths)]))
        number += 1
        await asyncio.sleep(0.05)
    await caller.close()


async def identical(port: int, count: int, report: Report) -> None:
    ids, timings, statuses = await steps.at_once(port, count, "first/one")
    report.tell(f"{count} identical requests at once: builds", len(ids))
    report.tell("  statuses", dict(statuses))
    report.tell(
        "  answered within ms, p50 / p99", f"{timings.ms(0.5):.0f} / {timings.ms(0.99):.0f}"
    )
    report.must("one build came of identical requests", len(ids) == 1)
    report.must("one request alone was new", statuses[202] == 1 and statuses[200] == count - 1)
    (build,) = await steps.ended(port, [{"id": each} for each in ids], 300)
    report.must("it is ready", build["state"] == "ready")


async def queue(
    port: int, builds: int, tenants: int, followers: int, report: Report, timeout_s: float
) -> list[str]:
    """One tenant asks for most, then the others for a few each; many follow."""
    few = max(1, builds // (10 * tenants))
    many = builds - few * (tenants - 1)
    asking, probing = Timings(), Timings()
    began = time.monotonic()
    big = await steps.submit(port, [f"big/e{number}" for number in range(many)], asking)
    small_names = [
        f"small-{n % (tenants - 1)}/e{n // (tenants - 1)}" for n in range(few * (tenants - 1))
    ]
    small = await steps.submit(port, small_names, asking)
    everyone = [*big, *small]
    report.tell(
        f"{builds} different builds of {tenants} tenants asked for in s",
        f"{time.monotonic() - began:.1f}",
    )
    report.tell("  asked for within ms, p50 / p99", f"{asking.ms(0.5):.1f} / {asking.ms(0.99):.1f}")
    done = asyncio.Event()
    prober = asyncio.create_task(probe(port, big[-1]["id"], probing, done))
    chosen = [everyone[-1 - number % min(200, len(everyone))] for number in range(followers)]
    async with callers(port, followers) as watching:
        told = [
            asyncio.create_task(caller.follow(build["id"]))
            for caller, build in zip(watching, chosen, strict=True)
        ]
        found = await steps.ended(port, everyone, timeout_s)
        took = time.monotonic() - began
        ends = await asyncio.wait_for(asyncio.gather(*told, return_exceptions=True), 60)
    done.set()
    await prober
    states = {state: sum(build["state"] == state for build in found) for state in steps.ENDED}
    report.tell("  ended", {state: number for state, number in states.items() if number})
    report.tell("  all of them within s, builds/s", f"{took:.0f}, {builds / took:.1f}")
    report.must("every build is ready", states["ready"] == builds)
    ready = sum(end == "ready" for end in ends)
    report.tell(f"{followers} followers by SSE: told of the end", ready)
    report.must("every follower was told", ready == followers)
    report.tell(
        "  API meanwhile, ms p50 / p99 / most",
        f"{probing.ms(0.5):.1f} / {probing.ms(0.99):.1f} / {probing.ms(1):.1f}",
    )
    report.must("nothing was refused meanwhile", not probing.refused and not asking.refused)
    fairness(found[:many], found[many:], tenants, report)
    return [build["environment"] for build in found]


def fairness(
    big: list[dict[str, Any]], small: list[dict[str, Any]], tenants: int, report: Report
) -> None:
    """While a small tenant's n-th build waited, the big one began about n of its own."""
    excess = []
    for number, build in enumerate(small):
        nth = number // (tenants - 1) + 1
        excess.append(steps.begun_before(build, big) - nth)
    waits = [steps.moment(b["started_at"]) - steps.moment(b["created_at"]) for b in small]
    last = [steps.moment(b["started_at"]) - steps.moment(b["created_at"]) for b in big]
    report.tell(
        "fairness: builds of the big tenant begun beyond the small one's share, most", max(excess)
    )
    report.tell(
        "  waited s, p50 / most: small tenants; big tenant",
        f"{statistics.median(waits):.1f} / {max(waits):.1f}; "
        f"{statistics.median(last):.1f} / {max(last):.1f}",
    )
    # Requests are sent by four callers at once, and two builds are under way when one is asked for.
    report.must("nobody waits for more than a share of somebody else's", max(excess) <= 6)


async def day(
    server: Deployed, environments: list[str], users: int, seconds: float, report: Report
) -> None:
    mix = steps.Mix(environments, 0.004, random.Random(8))
    memory = Memory(server)
    memory.start()
    timings, total, late = await steps.day(server.port, mix, users, 5, seconds)
    memory.stop()
    report.tell(f"a day of {users} users in {seconds:.0f} s: requests", total)
    report.tell("  new builds", mix.made)
    report.tell("  refused", timings.refused or 0)
    report.tell(
        "  answered within ms, p50 / p99 / most; latest start s",
        f"{timings.ms(0.5):.1f} / {timings.ms(0.99):.1f} / {timings.ms(1):.0f}; {late:.1f}",
    )
    for name, samples in (("API", memory.api), ("worker and its children", memory.worker)):
        grown = growth(samples)
        report.tell(
            f"  memory of {name}: first, most, last MB; growth",
            ", ".join(f"{each / 1e6:.0f}" for each in (samples[0], max(samples), samples[-1]))
            + f"; {grown:.3f}",
        )
        report.must(f"the memory of the {name} is flat", grown <= GROWTH_MAX)
    report.must("nothing was refused", not timings.refused)


async def load(server: Deployed, options: argparse.Namespace, report: Report) -> None:
    await identical(server.port, options.identical, report)
    environments = await queue(
        server.port,
        options.builds,
        options.tenants,
        options.followers,
        report,
        options.timeout_s,
    )
    await day(server, environments, options.users, options.day_s, report)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--identical", type=int, default=1000)
    parser.add_argument("--builds", type=int, default=2000)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--followers", type=int, default=500)
    parser.add_argument("--users", type=int, default=5000)
    parser.add_argument("--day-s", type=float, default=120)
    parser.add_argument("--timeout-s", type=float, default=900)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="kbload") as folder:
        (Path(folder) / "index").mkdir()
        with server(Path(folder), postgres=options.postgres) as started:
            asyncio.run(load(started, options, report))
    if options.json:
        print(json.dumps({"rows": dict(report.rows), "wrong": report.wrong}, indent=2))
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
