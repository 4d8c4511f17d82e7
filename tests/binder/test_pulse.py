"""A worker says whether its container engine answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis
from rig.docker import DockerEngine
from rig.process import Daemon
from rig.redis import RedisServer

from worker import presence

from .conftest import Workshop

pytestmark = pytest.mark.rig


def test_an_engine_that_dies_is_told_and_so_is_its_return(
    make_workshop: Callable[..., Workshop],
    make_docker_engine: Callable[..., DockerEngine],
    redis_server: RedisServer,
    start_worker: Callable[..., Daemon],
) -> None:
    rig = make_docker_engine()
    url = redis_server.new_database()
    site = make_workshop(engine_address=rig.host, broker_url=url, sweep_s=0.5)
    start_worker(site.variables)
    with redis.Redis.from_url(url) as broker:

        def problem() -> str | None:
            told = presence.everyone(broker)
            return told[0].engine_problem if told else None

        def until(wanted: Callable[[str | None], bool]) -> None:
            deadline = time.monotonic() + 90
            while not wanted(problem()):
                assert time.monotonic() < deadline, problem()
                time.sleep(0.2)

        until(lambda told: told == "")
        rig.kill()
        until(lambda told: bool(told) and "does not answer" in str(told))
        rig.start()
        until(lambda told: told == "")
