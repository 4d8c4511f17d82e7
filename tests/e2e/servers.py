"""Kitbag's own processes as its users start them, and what a test asks of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
from rig.process import Daemon, free_port
from rig.proxy import Proxy

ROOT = Path(__file__).parents[2]
BASES = ROOT / ".cache/kitbag/bases"
BIN = Path(sys.executable).parent
NO_REGISTRY = "127.0.0.1:9/library/python:{python}-slim"
"""Nobody's port: the base `auto` is then the Debian one wherever the tests run."""

ENDED = ("ready", "failed", "cancelled")
START_S = 120  # the machine may be busy with other runs
BUILD_S = 240


class Server:
    """A running Kitbag: its API, and the `kitbag` command pointed at it.

    `variables` are the KITBAG_… settings of its parts, `data` is the folder of uploads.
    """

    def __init__(self, url: str, data: Path, variables: Mapping[str, str]) -> None:
        self.url = url
        self.data = data
        self.variables = dict(variables)
        self.http = httpx.Client(base_url=url, timeout=90, trust_env=False)
        self._home = data.parent / f"{data.name}-home"
        self._home.mkdir(exist_ok=True)

    @property
    def host(self) -> str:
        """What the API listens on: "127.0.0.1:PORT"."""
        return self.url.removeprefix("http://")

    @property
    def environ(self) -> dict[str, str]:
        """The variables of every process started here: nothing of the caller's own Kitbag."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("KITBAG_")}
        return {**kept, **self.variables, "HOME": str(self._home)}

    def kitbag(
        self, *arguments: str | Path, cwd: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run the command as a user does; its exit code is the test's to judge."""
        return subprocess.run(
            [BIN / "kitbag", *map(str, arguments)],
            cwd=cwd or self._home,
            env=self.environ | {"KITBAG_URL": self.url},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )

    def kitbag_server(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `kitbag-server ARGUMENTS` with this server's settings, to its end."""
        return run_server(*arguments, env=self.environ)

    def get(self, path: str, **params: str | int) -> Any:
        """The JSON of a path that must answer 200."""
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(
        self,
        environment: str | None,
        *requirements: str,
        files: Mapping[str, str] | None = None,
        git: Mapping[str, str] | None = None,
        **more: Any,
    ) -> httpx.Response:
        """POST /v1/builds of lines of requirements, of `files`, or of `git`."""
        source: dict[str, Any] = {"git": dict(git)} if git is not None else {}
        if git is None:
            source = {"files": dict(files or {"requirements.txt": "\n".join(requirements)})}
        request = {"environment": environment, "source": source, **more}
        return self.http.post("/v1/builds", json=request)

    def wait(self, build_id: str, timeout_s: float = BUILD_S) -> dict[str, Any]:
        """The build once it has ended, however it did."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            build: dict[str, Any] = self.get(f"/v1/builds/{build_id}")
            if build["state"] in ENDED:
                return build
            time.sleep(0.05)
        raise AssertionError(f"build {build_id} is {build['state']} after {timeout_s:.0f} s")

    def wait_for_state(self, build_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        """The build once it is in one of these states; fails if it ends in another."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            build: dict[str, Any] = self.get(f"/v1/builds/{build_id}")
            if build["state"] in states:
                return build
            assert build["state"] not in ENDED, build
            time.sleep(0.02)
        raise AssertionError(f"build {build_id} is {build['state']}, not {states}")

    def build(self, environment: str, *requirements: str, **more: Any) -> dict[str, Any]:
        """Submit and wait; the build must become ready."""
        answer = self.submit(environment, *requirements, **more)
        assert answer.status_code in (200, 202), answer.text
        build = self.wait(answer.json()["id"])
        assert build["state"] == "ready", f"{build['error']}\n{self.logs()}"
        return build

    def events(self, build_id: str) -> list[dict[str, Any]]:
        """What happened in a build so far."""
        path = f"/v1/builds/{build_id}/events"
        answer = self.http.get(path, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def logs(self) -> str:
        """What the parts wrote last, for a failure's message."""
        return _ends(self.data.glob("logs/*.log"))

    def ready(self) -> bool:
        """Whether every part answers."""
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False


class Embedded(Server):
    """`kitbag-server up` with everything in one folder; `.up` is its process."""

    def __init__(self, data: Path, variables: Mapping[str, str]) -> None:
        share_bases(data / "cache")
        port = free_port()
        super().__init__(f"http://127.0.0.1:{port}", data, variables)
        log = data.parent / f"{data.name}.log"
        self._log_from = len(log.read_text()) if log.exists() else 0  # an earlier `up` wrote it
        command = [BIN / "kitbag-server", "up", "--port", str(port), "--data", str(data)]
        self.up = Daemon(
            [*map(str, command)],
            log=log,
            ready=self.is_up,
            timeout_s=START_S,
            env=self.environ,
        )

    def is_up(self) -> bool:
        """Whether `up` has said so; its API may answer a moment before."""
        return "Kitbag is up at" in self.up.log[self._log_from :]

    @property
    def layout(self) -> Path:
        return self.data / "layout"


class Deployed(Server):
    """An API and workers as processes of their own: `.api` and `.workers` may be killed."""

    def __init__(
        self,
        data: Path,
        variables: Mapping[str, str],
        workers: int,
        own: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`own` has more variables of single processes ("api", "worker-1"), "" of commands."""
        data.mkdir(parents=True, exist_ok=True)
        self._own = own or {}
        cache = Path(variables.get("KITBAG_CACHE", data / "cache"))
        share_bases(cache)
        self.port = free_port()
        super().__init__(f"http://127.0.0.1:{self.port}", data, variables)
        self.api = self._part("api", "api", "--port", str(self.port))
        self.workers = [
            self._part(f"worker-{number}", "worker", "--concurrency", "2")
            for number in range(1, workers + 1)
        ]

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | dict(self._own.get("", {}))

    def start(self) -> None:
        """Migrate the catalog and start every part; returns once all of them answer."""
        done = self.kitbag_server("migrate")
        assert done.returncode == 0, done.stderr
        for worker in self.workers:
            worker.start()
        self.api.start()
        self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = START_S) -> None:
        """Return once catalog, queue and a worker answer."""
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def stop(self) -> None:
        """End every part as an operator does."""
        self.api.stop()
        for worker in self.workers:
            worker.stop()

    def logs(self) -> str:
        return _ends(self.data.parent.glob(f"{self.data.name}-*.log"))

    def _part(self, name: str, *arguments: str) -> Daemon:
        return Daemon(
            [str(BIN / "kitbag-server"), *arguments],
            log=self.data.parent / f"{self.data.name}-{name}.log",
            ready=self._api_lives if name == "api" else lambda: True,
            timeout_s=START_S,
            env=self.environ | dict(self._own.get(name, {})),
        )

    def _api_lives(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False


class StartEmbedded(Protocol):
    """Starts an embedded server; it is stopped at the end of the test (or of the run)."""

    def __call__(self, data: Path | None = None, **variables: str) -> Embedded:
        """`data` is a new folder unless given; `variables` as KITBAG_INDEX_URL="…"."""
        ...


class Deploy(Protocol):
    """Starts API and workers; they are stopped at the end of the test (or of the run)."""

    def __call__(
        self, *, store: str, database_url: str, broker_url: str, workers: int = 1, **variables: str
    ) -> Deployed:
        """`store` as "registry://127.0.0.1:PORT/prefix"; `variables` as KITBAG_LEASE_S="3"."""
        ...


class SlowIndex:
    """An index behind a network that is slow until told to `hurry`."""

    def __init__(self, network: Proxy) -> None:
        self._network = network
        self.url = f"{network.url}/simple/"
        self.slow()

    def slow(self) -> None:
        """Take half a minute for the first answer on connections from now on."""
        self._network.reset()
        self._network.delay_s = 28  # uv gives up at 30

    def hurry(self) -> None:
        """Be a good network from now on."""
        self._network.delay_s = 0
        self._network.reset()


def _ends(logs: Iterable[Path]) -> str:
    return "\n".join(f"--- {log.stem}\n{log.read_text()[-3000:]}" for log in sorted(logs))


def share_bases(cache: Path) -> None:
    """Let a server whose cache is new use the Debian root that all runs on this machine share."""
    BASES.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    link = cache / "bases"
    if not link.exists():
        link.symlink_to(BASES, target_is_directory=True)


def run_server(
    *arguments: str | Path, env: Mapping[str, str], timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `kitbag-server ARGUMENTS` to its end."""
    return subprocess.run(
        [BIN / "kitbag-server", *map(str, arguments)],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextmanager
def embedded_starter(new_folder: Any, defaults: Mapping[str, str]) -> Iterator[StartEmbedded]:
    """A function that starts embedded servers; `new_folder()` gives each one its own."""
    with ExitStack() as stack:

        def start(data: Path | None = None, **variables: str) -> Embedded:
            server = Embedded(data or new_folder() / "data", {**defaults, **variables})
            stack.callback(server.http.close)
            stack.callback(server.up.stop, timeout_s=60)
            server.up.start()
            return server

        yield start


@contextmanager
def deployer(new_folder: Any, defaults: Mapping[str, str]) -> Iterator[Deploy]:
    """A function that starts deployments; `new_folder()` gives each one its own."""
    with ExitStack() as stack:

        def deploy(
            *,
            store: str,
            database_url: str,
            broker_url: str,
            workers: int = 1,
            **variables: str,
        ) -> Deployed:
            data = new_folder() / "data"
            chosen = {
                "KITBAG_DATA": str(data),
                "KITBAG_STORE": store,
                "KITBAG_DATABASE_URL": database_url,
                "KITBAG_BROKER_URL": broker_url,
                "KITBAG_LOCAL": "true",
            }
            server = Deployed(data, {**chosen, **defaults, **variables}, workers)
            stack.callback(server.http.close)
            stack.callback(server.stop)
            server.start()
            return server

        yield deploy


def kill(pid: int) -> None:
    """End a process as the kernel's out-of-memory killer does."""
    os.kill(pid, signal.SIGKILL)
