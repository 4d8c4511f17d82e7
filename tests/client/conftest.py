"""The command as users run it, and the real API over a catalog whose builds need no packages."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api.app import create_app
from api.queue import PlanRefusedError
from api.settings import ApiSettings
from catalog import bases, builds, events, runs
from catalog.build_models import EventKind
from catalog.engine import make_engine, migrate, reading, writing
from catalog.states import BuildState
from catalog.versions import ImageFacts, VersionFacts
from kitbag import Client
from kitbag.source import Files
from worker.presence import Presence

KITBAG = Path(sys.executable).with_name("kitbag")
TOKEN = "s3cret-token"
BASE = "sha256:" + "0" * 64
BASE_RECORD = {"python": {"version": "3.11.2", "path": "/usr/bin/python3"}}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home folder."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def clean_env(home: Path) -> dict[str, str]:
    """An environment without a server, a token, a proxy or a configuration file."""
    kept = ("PATH", "LANG", "LC_ALL", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": str(home)}


@pytest.fixture
def kitbag(clean_env: dict[str, str], tmp_path: Path) -> Run:
    """Run `kitbag ARGUMENTS`; the text of stdout, of stderr, and the exit code come back."""

    def run(
        *arguments: str | Path,
        stdin: str = "",
        cwd: Path = tmp_path,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KITBAG, *map(str, arguments)],
            input=stdin,
            cwd=cwd,
            env=clean_env | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


class Worker:
    """Runs builds as the catalog wants it, with packages that are just read from the request.

    What a build does is in its requirements: `slow` is worked on until it is cancelled, `broken`
    fails as an unresolvable set does, anything else becomes a version.
    """

    def __init__(self, database_url: str) -> None:
        self.engine = make_engine(database_url)
        with writing(self.engine) as session:
            bases.add(session, name="auto", digest=BASE, image=f"r/b@{BASE}", record=BASE_RECORD)

    def enqueue_build(self, build_id: str) -> None:
        threading.Thread(target=self._run, args=(build_id,), daemon=True).start()

    def request_plan(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        packages = self._packages(request)
        if any(package["name"] == "broken" for package in packages):
            raise PlanRefusedError(UNRESOLVABLE)
        return {
            "way": "layered",
            "why": "only Python packages",
            "files": ["requirements.txt"],
            "python": "3.11.2",
            "base": {"name": "auto", "image": f"r/b@{BASE}", "digest": BASE},
            "cuda": self._cuda(request),
            "packages": [{**package, "known": package["name"] == "six"} for package in packages],
            "layers": {"known": 40, "new": 1},
            "bytes_to_move": 1_234_567,
            "bytes_to_fetch": 1_300_000,
            "bytes_to_download": 1_000_000,
            "image_bytes": 147_000_000,
            "warnings": ["no JupyterLab in it"],
        }

    def begin_job(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        from worker import app

        return app.begin_job(kind, arguments)

    def job(self, job_id: str) -> dict[str, Any] | None:
        from worker import app

        return app.job(job_id)

    def queue_messages(self) -> dict[str, int]:
        return {}

    def tallies(self) -> dict[str, Any]:
        return {}

    def workers(self) -> list[Presence]:
        return []

    def queue_health(self, timeout_s: float) -> dict[str, Any]:
        return {"broker": True, "workers": ["w1"]}

    def _cuda(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        if request.get("accelerator") != "cuda":
            return None
        rule = {"key": "nvidia.com/cuda.driver.major", "operator": "Gt", "values": ["524"]}
        return {
            "version": "12.4",
            "cudnn": "9.1.0.70",
            "driver": "525.60.13",
            "affinity": {"matchExpressions": [rule]},
        }

    def _packages(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Names and versions in the request's requirements; those of a folder are not read."""
        text = "\n".join((request["source"].get("files") or {}).values())
        lines = [line.partition("==") for line in text.splitlines() if line[:1].isalpha()]
        return [
            {"name": name, "version": version or "1", "size_bytes": 1000}
            for name, _, version in lines
        ]

    def _run(self, build_id: str) -> None:
        with writing(self.engine) as session:
            build = runs.claim(session, build_id, "w1")
            assert build is not None
            request, attempt = build.request, build.attempt
        packages = self._packages(request)
        names = {package["name"] for package in packages}
        self._tell(build_id, EventKind.PHASE, f"resolving {len(packages)} packages", "resolving")
        self._tell(build_id, EventKind.LOG, "\x1b[31mred\x1b[0m text of a stranger", "resolving")
        if "broken" in names:
            with writing(self.engine) as session:
                runs.finish_failed(session, build_id, UNRESOLVABLE, attempt=attempt)
            return
        for state in (BuildState.BUILDING, BuildState.PUSHING):
            with writing(self.engine) as session:
                runs.transition(session, build_id, state, attempt=attempt, way="layered")
        while "slow" in names:
            with writing(self.engine) as session:
                if runs.heartbeat(session, build_id, attempt=attempt):
                    runs.finish_cancelled(session, build_id, attempt=attempt)
                    return
            time.sleep(0.05)
        self._finish(build_id, attempt, request, packages)

    def _finish(
        self,
        build_id: str,
        attempt: int,
        request: Mapping[str, Any],
        packages: list[dict[str, Any]],
    ) -> None:
        content = hashlib.sha256(repr(sorted(request.items())).encode()).hexdigest()
        digest = f"sha256:{content}"
        several = request.get("accelerators") or []
        facts = VersionFacts(
            images=[
                _image(request["environment"], content, accelerator, packages)
                for accelerator in (several if len(several) > 1 else [])
            ],
            image=f"registry.example.org/{request['environment']}@{digest}",
            digest=digest,
            content_key=content,
            python="3.11.2",
            accelerator=request["accelerator"],
            base_name="auto",
            base_digest=BASE,
            size_bytes=147_000_000,
            platform="linux/amd64",
            lock='lock-version = "1.0"\n',
            packages=packages,
            layers=[
                {"digest": f"sha256:{number:064}", "size_bytes": 5, "packages": held}
                for number, held in enumerate([[], [], *([p["name"]] for p in packages), []])
            ],
        )
        stats = {
            "packages": len(packages),
            "layers_new": 1,
            "layers_known": 40,
            "bytes_moved": 1_234_567,
            "image_bytes": 147_000_000,
            "seconds": {"resolving": 0.2},
        }
        with writing(self.engine) as session:
            runs.finish_ready(session, build_id, facts, attempt=attempt, stats=stats)

    def _tell(self, build_id: str, kind: EventKind, message: str, phase: str) -> None:
        with writing(self.engine) as session:
            events.append(session, build_id, kind, message, phase=phase)


def _image(
    environment: str, content: str, accelerator: str, packages: list[dict[str, Any]]
) -> ImageFacts:
    """One of several images; the first, for cpu, has the digest of the version."""
    own = hashlib.sha256(f"{content}{accelerator}".encode()).hexdigest()
    digest = f"sha256:{content if accelerator == 'cpu' else own}"
    return ImageFacts(
        image=f"registry.example.org/{environment}@{digest}",
        digest=digest,
        accelerator=accelerator,
        platform="linux/amd64",
        base_name="auto",
        base_digest=BASE,
        size_bytes=147_000_000,
        lock=f'lock-version = "1.0" # {accelerator}\n',
        packages=packages,
    )


UNRESOLVABLE = {
    "type": "unresolvable",
    "detail": "There is no version of broken; check its name.",
    "file": "requirements.txt",
    "line": 2,
    "package": "broken",
}


@dataclass(frozen=True)
class Server:
    """The API in this process, and what the tests look at behind it."""

    url: str
    worker: Worker
    data: Path

    @property
    def env(self) -> dict[str, str]:
        """What tells the command about it."""
        return {"KITBAG_URL": self.url}

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, token)

    def build(self, name: str, text: str = "six") -> str:
        """A version of the environment; returns its image."""
        with self.client() as client:
            asked = client.build(Files({"requirements.txt": f"{text}\n"}), name=name)
            image = client.wait(asked, timeout_s=60).image
        assert image is not None
        return image

    def request(self, build_id: str) -> Mapping[str, Any]:
        """A build's request as the catalog has it."""
        with reading(self.worker.engine) as session:
            found: Mapping[str, Any] = builds.get(session, build_id).request
            return found


@contextmanager
def running(folder: Path, token: str | None = None, **more: Any) -> Iterator[Server]:
    """The API over a new SQLite catalog on a free port of loopback; `more` are settings."""
    url = f"sqlite:///{folder / 'catalog.db'}"
    migrate(url)
    worker = Worker(url)
    known: dict[str, Any] = {"data": folder, "api_token": token, "event_poll_s": 0.02}
    settings = ApiSettings(database_url=url, **known | {"hook_key": "k" * 40} | more)
    config = uvicorn.Config(
        create_app(settings, worker), log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield Server(f"http://127.0.0.1:{port}", worker, folder)
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def serve() -> Callable[..., AbstractContextManager[Server]]:
    """Starts a server with settings of its own: `serve(folder, launch_url=…)`."""
    return running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the whole run shares: use a namespace of your own in it."""
    with running(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="session")
def closed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for TOKEN."""
    with running(tmp_path_factory.mktemp("closed"), TOKEN) as found:
        yield found
