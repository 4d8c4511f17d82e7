"""A real server over a socket for every test, on a catalog of its own."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine

from api.app import create_app
from api.queue import PlanRefusedError
from api.settings import ApiSettings
from catalog import bases, runs
from catalog.build_models import EventKind
from catalog.engine import make_engine, migrate, writing
from catalog.events import append
from catalog.models import Version
from catalog.states import BuildState
from catalog.versions import VersionFacts
from worker.presence import Presence

BASE_DIGEST = "sha256:" + "b" * 64


class Workers:
    """The queue, and workers that take every build through the catalog's own steps.

    Builds wait in `told` until a test calls for them.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.told: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.plan: dict[str, Any] | None = None
        self.problem: dict[str, Any] | None = None
        self.present: list[Presence] = []
        self.tallied: dict[str, Any] = {}
        self.health: dict[str, Any] = {"broker": True, "workers": ["one"]}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.broken = self.slow = False
        self.gate = threading.Event()
        self.gate.set()

    def enqueue_build(self, build_id: str) -> None:
        if self.broken:
            raise ConnectionError("the queue is gone")
        if self.slow:
            self.gate.wait(20)
        self.told.append(build_id)

    def wait_told(self, *build_ids: str) -> None:
        """The queue is told after the answer went out: soon, and nothing else."""
        deadline = time.monotonic() + 10
        while len(self.told) < len(build_ids) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self.told == list(build_ids)

    def request_plan(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self.asked.append(request)
        if not self.gate.wait(timeout_s):
            raise TimeoutError
        if self.problem is not None:
            raise PlanRefusedError(self.problem)
        assert self.plan is not None
        return self.plan

    def begin_job(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if self.problem is not None:
            raise PlanRefusedError(self.problem)
        job_id = f"{len(self.jobs):032x}"
        self.jobs[job_id] = {
            "id": job_id,
            "kind": kind,
            "arguments": arguments,
            "state": "queued",
            "progress": {},
            "result": None,
            "problem": None,
        }
        return self.jobs[job_id]

    def job(self, job_id: str) -> dict[str, Any] | None:
        return self.jobs.get(job_id)

    def tallies(self) -> dict[str, Any]:
        return self.tallied

    def workers(self) -> list[Presence]:
        return self.present

    def queue_health(self, timeout_s: float) -> dict[str, Any]:
        return self.health

    def queue_messages(self) -> dict[str, int]:
        return {"layered": len(self.told)} if self.health["broker"] else {}

    def begin(self, build_id: str) -> None:
        with writing(self.engine) as session:
            assert runs.claim(session, build_id, "worker") is not None

    def say(self, build_id: str, *lines: str) -> None:
        for line in lines:
            with writing(self.engine) as session:
                append(session, build_id, EventKind.LOG, line, phase="resolving")

    def fail(self, build_id: str, problem: dict[str, Any]) -> None:
        with writing(self.engine) as session:
            runs.finish_failed(session, build_id, problem, attempt=1)

    def finish(self, build_id: str, **facts: Any) -> Version:
        """Take a claimed build to its end."""
        for state in (BuildState.BUILDING, BuildState.PUSHING):
            with writing(self.engine) as session:
                runs.transition(session, build_id, state, attempt=1)
        known: dict[str, Any] = {
            "digest": "sha256:" + "a" * 64,
            "content_key": "c" * 64,
            "python": "3.11.2",
            "accelerator": "cpu",
            "base_name": "auto",
            "base_digest": BASE_DIGEST,
            "size_bytes": 1000,
            "platform": "linux/amd64",
            "lock": 'lock-version = "1.0"\n',
            "packages": [{"name": "numpy", "version": "2.0.0", "size_bytes": 900}],
            "layers": [{"digest": "sha256:1", "size_bytes": 900, "packages": ["numpy"]}],
        } | facts
        image = f"registry.example/alice/gan@{known['digest']}"
        with writing(self.engine) as session:
            return runs.finish_ready(
                session,
                build_id,
                VersionFacts(**{"image": image} | known),
                attempt=1,
                way="layered",
                stats={"packages": 1, "seconds": {"resolving": 0.2}},
            )

    def build(self, build_id: str, **facts: Any) -> Version:
        self.begin(build_id)
        return self.finish(build_id, **facts)


class Site:
    """A served app: its address, a client, its workers and its database."""

    def __init__(self, url: str, app: FastAPI, workers: Workers, http: httpx.Client) -> None:
        self.url = url
        self.app = app
        self.workers = workers
        self.http = http
        self.engine = workers.engine
        self.settings: ApiSettings = app.state.services.settings

    def ask(self, text: str = "numpy", environment: str = "alice/gan", **more: Any) -> Any:
        """The build that answers a request for a requirements.txt."""
        asked = {
            "environment": environment,
            "source": {"files": {"requirements.txt": text}},
        } | more
        response = self.http.post("/v1/builds", json=asked)
        assert response.status_code in (200, 202), response.text
        return response.json()

    def new_version(self, text: str = "numpy", **facts: Any) -> Version:
        return self.workers.build(self.ask(text)["id"], **facts)

    def add_base(self, name: str = "auto", digest: str = BASE_DIGEST) -> None:
        record = {
            "name": name,
            "python": {"version": "3.11.2", "path": "/usr/bin/python3"},
            "glibc": [2, 36],
            "user": "jovyan",
            "cuda": None,
        }
        with writing(self.engine) as session:
            bases.add(session, name=name, digest=digest, image=f"r/b@{digest}", record=record)

    def open_socket(self) -> socket.socket:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=20)


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a free port of loopback; stopping it must not take long."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="warning",
            lifespan="on",
            timeout_graceful_shutdown=5,
            proxy_headers=False,  # as `kitbag-server api`
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline and thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog without rows, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def make_site(tmp_path: Path, migrated: Path) -> Iterator[Callable[..., Site]]:
    """Serve an app; the arguments are settings."""
    with ExitStack() as stack:

        def make(database_url: str = "", **settings: Any) -> Site:
            if not database_url:
                catalog = tmp_path / "catalog.db"
                if not catalog.exists():
                    shutil.copyfile(migrated, catalog)
                database_url = f"sqlite:///{catalog}"
            migrate(database_url)
            engine = make_engine(database_url)
            stack.callback(engine.dispose)
            workers = Workers(engine)
            known = {"data": tmp_path / "data", "event_poll_s": 0.03} | settings
            app = create_app(ApiSettings(database_url=database_url, **known), workers)
            url = stack.enter_context(serving(app))
            http = stack.enter_context(httpx.Client(base_url=url, timeout=20))
            return Site(url, app, workers, http)

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    site.add_base()
    return site


@pytest.fixture
def problem() -> Callable[..., dict[str, Any]]:
    """Assert that a response is this problem, and nothing but what a caller may see."""

    def check(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        told: dict[str, Any] = response.json()
        assert told["type"] == f"https://kitbag.dev/problems/{slug}"
        assert told["status"] == status
        assert told["instance"] == response.request.url.path
        assert told["detail"].endswith((".", "?"))
        assert told["title"]
        assert "Traceback" not in response.text
        return told

    return check
