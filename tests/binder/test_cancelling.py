"""A build that is cancelled, whose worker has no engine, or whose engine is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import redis
from rig.process import Daemon
from rig.redis import RedisServer

from catalog import builds
from catalog.engine import reading, writing
from catalog.states import ENDED, BuildState
from worker import leftovers
from worker.app import ENGINE_QUEUE
from worker.services import ENGINE_ALIVE

from .conftest import Workshop

pytestmark = pytest.mark.rig
ENDLESS = "#!/bin/sh\necho begun\nsleep 600\n"


def leftover(workshop: Workshop) -> str:
    assert workshop.engine is not None
    listed = [
        workshop.engine.docker("ps", "--all", "--quiet").stdout,
        workshop.engine.docker("images", "--quiet", "kitbag.dev/build").stdout,
    ]
    return "".join(listed)


def test_a_cancelled_post_build_ends_and_leaves_nothing(workshop: Workshop):
    build = workshop.ask({"postBuild": ENDLESS}, "cancel/one")
    worker = threading.Thread(target=workshop.work, args=(build,))
    worker.start()
    deadline = time.monotonic() + 60
    while not any("begun" in line for line in workshop.log(build)):
        assert time.monotonic() < deadline, workshop.log(build)
        time.sleep(0.1)
    with writing(workshop.catalog) as session:
        builds.request_cancel(session, build)
    worker.join(60)
    assert not worker.is_alive()
    with reading(workshop.catalog) as session:
        assert builds.get(session, build).state is BuildState.CANCELLED
    assert leftover(workshop) == ""
    assert not any(workshop.kit.scratch.path.glob("build-*"))


def test_a_worker_without_an_engine_hands_the_build_to_one_that_has_it(
    make_workshop: Callable[..., Workshop], redis_server: RedisServer, monkeypatch
):
    site = make_workshop(without_engine=True, broker_url=redis_server.url)
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("worker.building.enqueue_build", lambda *told: sent.append(told))
    with redis.Redis.from_url(redis_server.url) as broker:
        broker.set(ENGINE_ALIVE, 1, ex=60)
        build = site.ask({"apt.txt": "hello\n"}, "handed/on")
        row = site.work(build)
        broker.delete(ENGINE_ALIVE)
    assert (row.state, row.attempt, row.way) == (BuildState.QUEUED, 1, "binder")
    assert sent == [(build, ENGINE_QUEUE)]
    assert "Waiting for a worker with a container engine." in site.log(build)
    time.sleep(0.1)
    settings = site.settings.model_copy(update={"sweep_s": 0.01})
    site.kit.settings = settings
    assert leftovers.waiting(site.kit) == {ENGINE_QUEUE: [build]}


def test_a_worker_with_an_engine_takes_what_another_hands_on(
    make_workshop: Callable[..., Workshop],
    redis_server: RedisServer,
    start_worker: Callable[..., Daemon],
):
    """Both are processes of their own, as an operator starts them."""
    site = make_workshop(broker_url=redis_server.new_database(), sweep_s=0.5)
    able = site.variables
    unable = {**able, "KITBAG_ENGINE": "none"}
    start_worker(able)
    with redis.Redis.from_url(site.settings.broker_url) as broker:
        deadline = time.monotonic() + 90
        while not broker.exists(ENGINE_ALIVE):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    start_worker(unable, "--queues", "layered")
    build = site.ask({"postBuild": "#!/bin/sh\necho done > made\n"}, "handed/over")
    deadline = time.monotonic() + 90
    while True:
        with reading(site.catalog) as session:
            row = builds.get(session, build)
        if row.state in ENDED:
            break
        assert time.monotonic() < deadline, site.log(build)
        time.sleep(0.2)
    assert row.state is BuildState.READY, row.error


def test_an_engine_that_is_away_is_named(make_workshop: Callable[..., Workshop]):
    site = make_workshop(engine_address="unix:///nonexistent/docker.sock")
    error = site.fails({"postBuild": "#!/bin/sh\ntrue\n"})
    assert error["type"] == "engine-unreachable"
