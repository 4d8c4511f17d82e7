"""Compilers and scratch go with the process that made them, in every kind of pool."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.process import Daemon, children
from rig.redis import RedisServer

from catalog.states import BuildState
from worker.app import BUILD, make_app
from worker.settings import QueueSettings

from .conftest import ROOT, Site, gone

Make = Callable[..., Site]
START = "import sys; from worker.app import app; app().worker_main(sys.argv[1:])"


@pytest.fixture
def start_pool(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts a worker with Celery's own options."""
    started: list[Daemon] = []

    def start(site: Site, *options: str) -> Daemon:
        log = tmp_path / f"pool-{len(started)}.log"
        daemon = Daemon(
            [
                *(sys.executable, "-c", START, "worker", "--queues", "layered,plans"),
                *("--loglevel", "INFO", "--concurrency", "1", *options),
            ],
            log=log,
            ready=lambda: " ready." in log.read_text(errors="replace"),
            timeout_s=90,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": str(ROOT),
                "C_FORCE_ROOT": "1",
            }
            | site.variables,
        )
        started.append(daemon)
        daemon.start()
        return daemon

    yield start
    for daemon in started:
        daemon.stop(timeout_s=30)


def scratch(site: Site) -> list[Path]:
    return list((site.settings.cache_root / "scratch").glob("process-*"))


def built(site: Site, number: int) -> None:
    made = make_app(QueueSettings(broker_url=site.settings.broker_url))
    build_id = site.ask("two", environment=f"pools/e{number}")
    made.send_task(BUILD, args=[build_id])
    row = site.wait(build_id)
    assert row.state is BuildState.READY, row.error


def test_a_child_that_is_replaced_takes_its_compilers_and_its_scratch_along(
    make_site: Make, start_pool: Callable[..., Daemon], redis_server: RedisServer
) -> None:
    site = make_site(broker_url=redis_server.new_database(), sweep_s=300)
    worker = start_pool(site, "--max-tasks-per-child", "1")
    assert worker.pid is not None
    for number in range(3):
        built(site, number)
    deadline = time.monotonic() + 15
    while len(scratch(site)) > 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(scratch(site)) <= 1
    below = children(worker.pid)
    assert len(below) <= 1 + (os.cpu_count() or 1) * 2
    worker.stop()
    assert all(gone(pid) for pid in below)
    assert not scratch(site)


def test_a_worker_of_threads_leaves_no_compiler_when_it_is_killed(
    make_site: Make, start_pool: Callable[..., Daemon], redis_server: RedisServer
) -> None:
    site = make_site(broker_url=redis_server.new_database())
    worker = start_pool(site, "--pool", "threads")
    built(site, 0)
    assert worker.pid is not None
    below = children(worker.pid)
    assert below, "no compiler was started, so nothing would be seen of it"
    os.kill(worker.pid, signal.SIGKILL)
    worker.kill()
    assert all(gone(pid) for pid in below)
