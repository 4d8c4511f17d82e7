"""What the API is told of workers that answer, that don't, and of a queue that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from rig.process import Daemon
from rig.redis import RedisServer
from rig.redis import redis_server as start_redis

from worker import app as queue

from .conftest import Site

Make = Callable[..., Site]
REQUEST = {"environment": "a/b", "source": {"files": {"requirements.txt": "two"}}}


@pytest.fixture
def own_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis of this test's, which the queue of this process is."""
    with start_redis() as server:
        monkeypatch.setenv("KITBAG_BROKER_URL", server.url)
        queue.app.cache_clear()
        yield server
    queue.app.cache_clear()


def test_a_worker_answers_plans_also_with_a_problem(
    make_site: Make, start_worker: Callable[..., Daemon], own_redis: RedisServer
) -> None:
    site = make_site(broker_url=own_redis.url)
    start_worker(site, "--concurrency", "1")
    plan = queue.request_plan(REQUEST, 60)
    assert [package["name"] for package in plan["packages"]] == ["one", "pip", "two"]
    nothing = {"environment": "a/b", "source": {"files": {"requirements.txt": "nosuch"}}}
    with pytest.raises(queue.WorkerProblem) as raised:
        queue.request_plan(nothing, 60)
    assert raised.value.problem["type"] == "unresolvable"
    with pytest.raises(queue.WorkerProblem) as raised:
        queue.request_plan({"environment": "a/b"}, 60)
    assert raised.value.problem["type"] == "invalid-request"
    health = queue.queue_health(5)
    assert health["broker"] and len(health["workers"]) == 1


def test_nobody_answers_where_there_is_no_worker(own_redis: RedisServer) -> None:
    with pytest.raises(TimeoutError, match="no worker answered within 1 s"):
        queue.request_plan(REQUEST, 1)
    assert queue.queue_health(0.2) == {"broker": True, "workers": []}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_queue_that_is_away_is_a_sentence_within_seconds(own_redis: RedisServer) -> None:
    own_redis.kill()
    began = time.monotonic()
    with pytest.raises(queue.WorkerProblem, match="The queue does not answer"):
        queue.request_plan(REQUEST, 60)
    with pytest.raises(Exception, match="refused"):
        queue.enqueue_build("0" * 26)
    assert queue.queue_health(0.2) == {"broker": False, "workers": []}
    assert time.monotonic() - began < 15
    own_redis.start()
    with pytest.raises(TimeoutError):
        queue.request_plan(REQUEST, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_queue_that_goes_away_while_a_plan_is_waited_for_is_a_sentence(
    own_redis: RedisServer,
) -> None:
    threading.Timer(1, own_redis.kill).start()
    began = time.monotonic()
    with pytest.raises((queue.WorkerProblem, TimeoutError)):
        queue.request_plan(REQUEST, 5)
    assert time.monotonic() - began < 30


def test_a_message_given_back_on_a_closed_connection_is_a_lost_queue_and_no_fault(
    own_redis: RedisServer,
) -> None:
    """Of any other error the worker's main process would end."""
    connection = queue.app().connection_for_read()
    channel = connection.channel()
    connection.release()
    with pytest.raises(connection.connection_errors):
        channel.basic_ack("of a message that was taken before")
