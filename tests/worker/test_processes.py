"""Real worker processes on a real queue: what is left when one is killed, and how fast."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
import redis
from rig.process import Daemon, children
from rig.redis import RedisServer

from catalog import builds
from catalog.engine import writing
from catalog.states import BuildState
from worker.app import BUILD, make_app
from worker.settings import QueueSettings

from .conftest import Site, gone

Make = Callable[..., Site]
Start = Callable[..., Daemon]


@pytest.fixture
def broker_url(redis_server: RedisServer) -> str:
    """A database of the run's Redis for this test alone."""
    return redis_server.new_database()


def tell(site: Site, build_id: str) -> str:
    made = make_app(QueueSettings(broker_url=site.settings.broker_url))
    made.send_task(BUILD, args=[build_id])
    return build_id


def working(site: Site, build_id: str) -> int:
    """The process that works on a build."""
    worker = site.row(build_id).worker
    assert worker is not None
    return int(worker.split()[0].rpartition(":")[2])


def test_a_killed_child_costs_seconds_and_leaves_nothing_running(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url, lease_s=600, heartbeat_s=0.5, sweep_s=300)
    worker = start_worker(site, "--concurrency", "1")
    warm = tell(site, site.ask("two"))
    assert site.wait(warm).state is BuildState.READY  # so that there are compilers
    site.network.delay_s = 2
    build_id = tell(site, site.ask("one==1.0"))
    site.wait(build_id, BuildState.RESOLVING)
    child = working(site, build_id)
    below = children(child)
    assert below, "the child has no compilers, so nothing would be seen of them"
    os.kill(child, signal.SIGKILL)
    began = time.monotonic()
    row = site.wait(build_id)
    assert (row.state, row.attempt) == (BuildState.READY, 2), row.error
    assert time.monotonic() - began < 25
    assert all(gone(pid) for pid in below)
    assert worker.running


def test_a_killed_worker_s_build_is_done_by_the_next_at_once(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url, lease_s=600, heartbeat_s=0.5)
    first = start_worker(site, "--concurrency", "1")
    site.network.delay_s = 3
    build_id = tell(site, site.ask("two"))
    waits = tell(site, site.ask("one==1.0"))
    site.wait(build_id, BuildState.RESOLVING)
    child = working(site, build_id)
    assert first.pid is not None
    family = children(first.pid)
    os.kill(first.pid, signal.SIGKILL)
    first.kill()
    start_worker(site, "--concurrency", "1")
    assert site.wait(build_id).state is BuildState.READY
    assert site.wait(waits).state is BuildState.READY
    assert gone(child)
    assert all(gone(pid) for pid in family)


def test_what_a_dead_process_left_in_scratch_goes_and_nothing_else(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url, heartbeat_s=0.5)
    scratch = site.settings.cache_root / "scratch"
    first = start_worker(site, "--concurrency", "1")
    site.network.delay_s = 3
    build_id = tell(site, site.ask("two"))
    site.wait(build_id, BuildState.RESOLVING)
    deadline = time.monotonic() + 10
    while not list(scratch.glob("process-*/build-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = set(scratch.iterdir())
    assert left
    mine = site.kit.scratch.path
    assert first.pid is not None
    for pid in [first.pid, *children(first.pid)]:
        os.kill(pid, signal.SIGKILL)
    first.kill()
    start_worker(site, "--concurrency", "1")
    assert site.wait(build_id).state is BuildState.READY
    deadline = time.monotonic() + 15
    while left & set(scratch.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left & set(scratch.iterdir())
    assert mine.exists()


def test_a_lost_message_is_told_again_and_a_build_that_waits_is_not_told_twice(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url, sweep_s=0.5)
    lost = site.ask("two")
    start_worker(site, "--concurrency", "1")
    assert site.wait(lost).state is BuildState.READY
    site.network.delay_s = 4
    busy = tell(site, site.ask("one==1.0"))
    site.wait(busy, BuildState.RESOLVING)
    waits = [tell(site, site.ask("one", environment=f"alice/w{n}")) for n in range(5)]
    with redis.Redis.from_url(broker_url) as broker:
        time.sleep(3)
        assert broker.llen("layered") <= 2 * len(waits)
    site.network.delay_s = 0
    for build_id in waits:
        assert site.wait(build_id).state is BuildState.READY


def test_a_queue_that_was_away_and_forgot_everything_is_told_again(
    make_site: Make, start_worker: Start
) -> None:
    from rig.redis import redis_server as own_redis

    with own_redis() as server:
        site = make_site(broker_url=server.url, sweep_s=0.5)
        start_worker(site, "--concurrency", "1")
        server.kill()
        build_id = site.ask("two")
        time.sleep(2)
        server.start()
        assert site.wait(build_id, timeout_s=60).state is BuildState.READY
        site.network.delay_s = 2
        second = tell(site, site.ask("one==1.0"))
        site.wait(second, BuildState.RESOLVING)
        server.kill()
        time.sleep(1)
        server.start()
        assert site.wait(second).state is BuildState.READY
        third = site.ask("one")
        assert site.wait(third, timeout_s=60).state is BuildState.READY


def test_a_running_build_hears_of_its_cancellation_within_a_few_beats(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url, heartbeat_s=0.3)
    start_worker(site, "--concurrency", "1")
    site.network.delay_s = 30
    build_id = tell(site, site.ask("two"))
    site.wait(build_id, BuildState.RESOLVING)
    with writing(site.engine) as session:
        builds.request_cancel(session, build_id)
    began = time.monotonic()
    assert site.wait(build_id).state is BuildState.CANCELLED
    assert time.monotonic() - began < 3
    site.network.reset()
    site.network.delay_s = 0
    other = tell(site, site.ask("one==1.0"))
    assert site.wait(other, timeout_s=30).state is BuildState.READY


def test_the_log_names_builds_and_no_urls(
    make_site: Make, start_worker: Start, broker_url: str
) -> None:
    site = make_site(broker_url=broker_url)
    worker = start_worker(site, "--concurrency", "1")
    build_id = tell(site, site.ask("two"))
    assert site.wait(build_id).state is BuildState.READY
    time.sleep(0.5)
    assert f"build {build_id} attempt 1 begins" in worker.log
    assert "HTTP Request" not in worker.log
    assert ".whl" not in worker.log
