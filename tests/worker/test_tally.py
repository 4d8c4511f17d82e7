"""What workers count together, and who of them says that they live."""

from __future__ import annotations

from collections.abc import Callable

import redis
from rig.process import Daemon
from rig.redis import RedisServer

from catalog.types import utcnow
from worker import presence, tally
from worker.presence import Presence
from worker.tally import Tally

from .conftest import Site


def test_counts_of_several_add_up(redis_server: RedisServer) -> None:
    url = redis_server.new_database()
    for waited_s in (0.05, 0.07, 7200.0):
        one = Tally()
        one.observe("kitbag_build_queue_seconds", "layered", value=waited_s)
        one.count("kitbag_builds_ended", "layered", "ready", "")
        one.count("kitbag_build_bytes", "store", amount=100)
        one.send(url)
    with redis.Redis.from_url(url) as broker:
        found = tally.read(broker)
    waits = found["kitbag_build_queue_seconds"][("layered",)]
    assert waits == {"0.05": 1, "0.1": 1, "+Inf": 1, "sum": 7200.12}
    assert found["kitbag_builds_ended"] == {("layered", "ready", ""): {"": 3}}
    assert found["kitbag_build_bytes"] == {("store",): {"": 300}}


def test_what_another_release_counted_is_left_alone(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.new_database()) as broker:
        broker.hset("kitbag:tally", "kitbag_of_tomorrow\x1fa\x1f", 1)
        broker.hset("kitbag:tally", "kitbag_build_bytes\x1fa\x1fb\x1f", 1)
        assert tally.read(broker) == {}


def test_a_queue_that_is_away_loses_a_count_and_nothing_else() -> None:
    one = Tally()
    one.count("kitbag_build_bytes", "store")
    one.send("redis://127.0.0.1:9/0")


def test_a_worker_is_there_until_it_leaves_or_is_silent(redis_server: RedisServer) -> None:
    now = utcnow()
    told = Presence(
        name="host:7",
        release="1",
        queues=("layered",),
        concurrency=2,
        engine="none",
        started_at=now,
        seen_at=now,
    )
    with redis.Redis.from_url(redis_server.new_database()) as broker:
        presence.tell(broker, told, 60)
        presence.tell(broker, told.model_copy(update={"name": "host:8"}), 60)
        broker.set("kitbag:worker:host:9", "of another release")
        assert [each.name for each in presence.everyone(broker)] == ["host:7", "host:8"]
        assert 0 < broker.ttl("kitbag:worker:host:7") <= 60
        presence.leave(broker, "host:8")
        assert presence.everyone(broker) == [told]


def test_a_worker_that_ends_says_so(
    make_site: Callable[..., Site], start_worker: Callable[..., Daemon], redis_server: RedisServer
) -> None:
    site = make_site(broker_url=redis_server.new_database())
    worker = start_worker(site, "--concurrency", "1")
    with redis.Redis.from_url(site.settings.broker_url) as broker:
        (there,) = presence.everyone(broker)
        assert there.name.endswith(f":{worker.pid}")
        assert (there.queues, there.concurrency) == (("layered", "plans"), 1)
        worker.stop(timeout_s=60)
        assert presence.everyone(broker) == []
