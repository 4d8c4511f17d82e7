"""Asks for builds and does harm, one after the other, by one source of chance."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from e2e.servers import kill
from faults.parts import LINES, Site, put_off
from rig.process import Daemon, children

from catalog.states import RUNNING

KILLS = ("child", "child", "worker", "api", "queue", "catalog", "registry", "engine")
OTHERS = ("cut", "frozen", "slow", "disk", "clock")
_RUNNING = {state.value for state in RUNNING}
_RUN = "#!/bin/sh\nset -e\nsleep 0.5\necho {number} >done\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, and the build that was promised."""

    environment: str
    files: tuple[tuple[str, str], ...]
    build: str


@dataclass(frozen=True, slots=True)
class Strike:
    """Harm that was done, to what, and from when to when it lasted."""

    kind: str
    to: str
    began: datetime
    ended: datetime
    running: int


@dataclass
class Storm:
    """`accepted` are the requests that were answered with a promise, `strikes` is what was done."""

    site: Site
    seed: int
    chance: random.Random = field(init=False)
    accepted: list[Request] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    unanswered: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def ask(self) -> None:
        """Ask for one more package in one of a few environments, sometimes for what was asked.

        Every twentieth has a step that needs the engine, where there is one.
        """
        self.asked += 1
        if self.accepted and self.chance.random() < 0.15:
            before = self.chance.choice(self.accepted)
            self._submit(before.environment, dict(before.files))
            return
        name = f"storm{self.asked}"
        modules = {f"{name}/m{n}.py": f"x = {list(range(n, n + 500))}\n" for n in range(120)}
        self.site.index.wheel(name, files={f"{name}/__init__.py": "", **modules})
        more = self.chance.choice(["one", "two"])
        files = {"requirements.txt": f"{name}\n{more}\n"}
        if self.site.engine is not None and self.asked % 20 == 0:
            files["postBuild"] = _RUN.format(number=self.asked)
        self._submit(f"storm/e{self.chance.randrange(5)}", files)

    def _submit(self, environment: str, files: dict[str, str]) -> None:
        try:
            answer = self.site.kitbag.submit(environment, files=files)
        except httpx.HTTPError:
            self.unanswered += 1
            return
        if answer.status_code not in (200, 202):
            assert answer.status_code in (502, 503, 504, 507), answer.text
            self.unanswered += 1
            return
        build = str(answer.json()["id"])
        self.accepted.append(Request(environment, tuple(sorted(files.items())), build))

    def running(self) -> int:
        """How many of the newest builds run now, as far as it can be told."""
        newest = {request.build for request in self.accepted[-6:]}
        try:
            states = [self.site.kitbag.get(f"/v1/builds/{one}")["state"] for one in newest]
        except (httpx.HTTPError, AssertionError):
            return 0
        return sum(state in _RUNNING for state in states)

    def wait_for_work(self) -> int:
        """Return when a build runs, or after a while: its end may have come too fast to be seen."""
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            if found := self.running():
                return found
            time.sleep(0.02)
        return 0

    def strike(self, kind: str) -> None:
        """Do harm of this kind at a moment of chance, and end it."""
        running = self.wait_for_work()
        time.sleep(self.chance.uniform(0, 0.5))
        began = datetime.now(UTC)
        to = getattr(self, f"_{kind}")()
        self.strikes.append(Strike(kind, to, began, datetime.now(UTC), running))

    def counts(self) -> Counter[str]:
        return Counter(strike.kind for strike in self.strikes)

    def explains(self, began: datetime, ended: datetime, kinds: Sequence[str]) -> bool:
        """Whether harm of one of these kinds (or to one of these) was done between the two."""
        grace = timedelta(seconds=15)  # a part that was started again takes a moment
        return any(
            (strike.kind in kinds or strike.to in kinds)
            and strike.began <= ended
            and strike.ended + grace >= began
            for strike in self.strikes
        )

    # Kills: what nobody else would start again is started again.

    def _worker_daemon(self) -> Daemon:
        return self.chance.choice(self.site.kitbag.workers)

    def _child(self) -> str:
        below = pool(self._worker_daemon())
        if below:
            kill(self.chance.choice(below))
        return ""

    def _worker(self) -> str:
        return self._again(self._worker_daemon())

    def _api(self) -> str:
        return self._again(self.site.kitbag.api)

    def _again(self, daemon: Daemon) -> str:
        daemon.kill()
        daemon.start()
        return ""

    def _queue(self) -> str:
        self.site.queue.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.site.queue.start()
        return ""

    def _catalog(self) -> str:
        self.site.catalog.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.site.catalog.start()
        return ""

    def _registry(self) -> str:
        self.site.registry.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.site.registry.start()
        return ""

    def _engine(self) -> str:
        assert self.site.engine is not None
        self.site.engine.kill()
        self.site.engine.start()
        return ""

    # Other harm: builds are asked for while it lasts.

    def _cut(self) -> str:
        def begin(pair: tuple[str, str]) -> None:
            self.site.lines[pair].refuse = True
            self.site.lines[pair].reset()

        def end(pair: tuple[str, str]) -> None:
            self.site.lines[pair].refuse = False

        return self._on_a_line(begin, end)

    def _frozen(self) -> str:
        def begin(pair: tuple[str, str]) -> None:
            self.site.lines[pair].frozen = True

        def end(pair: tuple[str, str]) -> None:
            self.site.lines[pair].frozen = False

        return self._on_a_line(begin, end)

    def _slow(self) -> str:
        def begin(pair: tuple[str, str]) -> None:
            self.site.lines[pair].delay_s = self.chance.uniform(0.2, 2)
            self.site.lines[pair].bytes_per_s = 20_000

        def end(pair: tuple[str, str]) -> None:
            self.site.lines[pair].delay_s = 0
            self.site.lines[pair].bytes_per_s = None

        return self._on_a_line(begin, end)

    def _on_a_line(
        self,
        begin: Callable[[tuple[str, str]], None],
        end: Callable[[tuple[str, str]], None],
    ) -> str:
        pair = self.chance.choice(LINES)
        begin(pair)
        self._lasts(lambda: end(pair))
        return "-".join(pair)

    def _disk(self) -> str:
        name = self.chance.choice(sorted(self.site.disks))
        folder = self.site.disks[name]
        filler = folder / "filler"
        with filler.open("wb") as stream, contextlib.suppress(OSError):
            while True:
                os.posix_fallocate(stream.fileno(), stream.seek(0, os.SEEK_END), 1 << 16)
        self._lasts(filler.unlink)
        return f"disk-{name}"

    def _clock(self) -> str:
        name = self.chance.choice(sorted(self.site.clocks))
        seconds = self.chance.choice([-3600, -60, 60, 3600, 86400])
        put_off(self.site.clocks[name], seconds)
        self._lasts(lambda: put_off(self.site.clocks[name], 0))
        return f"clock-{name}"

    def _lasts(self, end: Callable[[], None]) -> None:
        """Ask for a build meanwhile, and end it after a while, whether that was answered or not."""
        timer = threading.Timer(self.chance.uniform(1, 4), end)
        timer.start()
        self.ask()
        timer.join()


def pool(worker: Daemon) -> list[int]:
    """The processes of a worker that build: its own children that are the same program."""
    assert worker.pid is not None
    try:
        program = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    except OSError:
        return []
    found = []
    for pid in children(worker.pid):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == program:
                found.append(pid)
        except OSError:
            continue
    return found


def as_json(storm: Storm) -> str:
    """What was done, for a file."""
    rows = [
        [strike.kind, strike.to, strike.began.isoformat(), strike.ended.isoformat()]
        for strike in storm.strikes
    ]
    return json.dumps({"seed": storm.seed, "strikes": rows})
