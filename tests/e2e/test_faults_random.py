"""`kill -9` of any part at any moment loses nothing: two dozen moments or more."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.servers import ENDED, Deploy, Deployed, children, kill
from rig.process import Daemon
from rig.redis import RedisServer
from rig.redis import redis_server as start_redis
from rig.wheels import WheelFactory

from builder.stores.layout import LayoutStore

SEED = 20_260_101
KILLS = 24
INTERRUPTED = 5
"""So many builds must have been hit: on a busy machine most of the first kills hit none."""
MAX_KILLS = 96


class Storm:
    """Asks for builds and kills parts, one after the other, by one source of chance."""

    def __init__(self, site: Deployed, queue: RedisServer, index: WheelFactory) -> None:
        self.site = site
        self.queue = queue
        self.index = index
        self.chance = random.Random(SEED)
        self.accepted: list[str] = []
        self.killed: dict[str, int] = {}
        self._made = 0

    def ask(self) -> None:
        """Ask for one more package in one of a few environments; only what is accepted counts."""
        self._made += 1
        name = f"storm{self._made}"
        modules = {f"{name}/m{n}.py": f"x = {list(range(n, n + 2000))}\n" for n in range(200)}
        self.index.wheel(name, files=modules)
        environment = f"storm/e{self.chance.randrange(3)}"
        try:
            answer = self.site.submit(environment, name, self.chance.choice(["one", "two"]))
        except httpx.HTTPError:
            return
        assert answer.status_code in (200, 202), answer.text
        self.accepted.append(answer.json()["id"])

    def wait_for_work(self) -> None:
        """Return when a build runs, or after a while: its end may have come too fast to be seen."""
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            try:
                states = {self.site.get(f"/v1/builds/{one}")["state"] for one in self.accepted[-4:]}
            except httpx.HTTPError:
                return
            if states & {"resolving", "building", "pushing"}:
                return
            time.sleep(0.02)

    def strike(self) -> None:
        """Kill one part, and start again what nobody else would."""
        victim = self.chance.choice(["child", "child", "worker", "api", "queue"])
        worker = self.chance.choice(self.site.workers)
        self.killed[victim] = self.killed.get(victim, 0) + 1
        if victim == "child":
            below = pool(worker)
            if below:
                kill(self.chance.choice(below))
        elif victim == "worker":
            assert worker.pid is not None
            worker.kill()
            worker.start()
        elif victim == "api":
            self.site.api.kill()
            self.site.api.start()
        else:
            self.queue.kill()
            self.queue.start()


def pool(worker: Daemon) -> list[int]:
    """The processes of a worker that build: its own children that are the same program."""
    assert worker.pid is not None
    program = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    found = []
    for pid in children(worker.pid):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == program:
                found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_is_killed_every_accepted_build_comes_to_its_right_end(
    deploy: Deploy, new_folder: Callable[[], Path], index: WheelFactory
) -> None:
    with start_redis() as queue:
        layout = new_folder() / "layout"
        site = deploy(
            store=f"oci:{layout}",
            database_url=f"sqlite:///{new_folder()}/catalog.db",
            broker_url=queue.url,
            workers=2,
            KITBAG_HEARTBEAT_S="0.5",
            KITBAG_LEASE_S="6",
            KITBAG_SWEEP_S="1",
            KITBAG_MAX_ATTEMPTS="10",
        )
        site.build("storm/base", "one")
        storm = Storm(site, queue, index)
        kills = 0
        while kills < KILLS or (interrupted(site) < INTERRUPTED and kills < MAX_KILLS):
            for _ in range(storm.chance.randrange(2, 5)):
                storm.ask()
            storm.wait_for_work()
            time.sleep(storm.chance.uniform(0, 0.5))
            storm.strike()
            kills += 1
        assert len(storm.accepted) >= KILLS
        assert set(storm.killed) == {"child", "worker", "api", "queue"}
        for build_id in storm.accepted:
            build = site.wait(build_id)
            assert build["state"] == "ready", (build["error"], site.logs())
        everything_is_right(site, layout)
        nothing_is_left(site, layout)


def everything_is_right(site: Deployed, layout: Path) -> None:
    """All builds have ended; versions are 1…n, each of one build and with all of its image."""
    items = builds(site)
    assert {build["state"] for build in items} <= set(ENDED)
    for environment in site.get("/v1/environments", limit=100)["items"]:
        path = f"/v1/environments/{environment['name']}/versions"
        versions = site.get(path, limit=100)["items"]
        numbers = sorted(version["number"] for version in versions)
        assert numbers == list(range(1, len(numbers) + 1))
        assert len({version["build"] for version in versions}) == len(versions)
        for version in versions:
            blobs = layout / "blobs" / "sha256"
            manifest = json.loads((blobs / version["digest"].removeprefix("sha256:")).read_bytes())
            for part in (manifest["config"], *manifest["layers"]):
                blob = blobs / part["digest"].removeprefix("sha256:")
                assert blob.stat().st_size == part["size"]
    for build in items:
        kinds = [event["kind"] for event in site.events(build["id"])]
        assert kinds.count("done") == 1 and kinds[-1] == "done", kinds
    assert interrupted(site) >= INTERRUPTED, "hardly any build was interrupted"


def builds(site: Deployed) -> list[dict[str, Any]]:
    """All builds that the API lists."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        more = {"before": cursor} if cursor else {}
        page = site.get("/v1/builds", limit=100, **more)
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def interrupted(site: Deployed) -> int:
    """How many builds lost their worker on the way and were queued again."""
    return sum(
        any("queued again" in event["message"] for event in site.events(build["id"]))
        for build in builds(site)
    )


def nothing_is_left(site: Deployed, layout: Path) -> None:
    """No temporary file lies about, but those of living processes."""
    worker = site.workers[0]
    worker.kill()
    worker.start()  # a worker that starts cleans up
    scratch = site.data / "cache" / "scratch"
    processes = sum(len(pool(each)) for each in site.workers)

    def left() -> list[Path]:
        return [*scratch.glob("*/build-*"), *scratch.glob("*/wheels/*")]

    deadline = time.monotonic() + 30
    while left() or len(list(scratch.iterdir())) > processes:
        assert time.monotonic() < deadline, (left(), list(scratch.iterdir()))
        time.sleep(0.2)
    site.build("storm/last", "three")
    for left in (layout / "ingest").iterdir():  # the layout waits some time before it cleans up
        os.utime(left, (0, 0))
    LayoutStore(layout)
    assert not list((layout / "ingest").iterdir())
