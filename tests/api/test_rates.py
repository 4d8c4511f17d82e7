"""How often one may ask, counted in a real Redis by replicas together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.redis import RedisServer
from rig.redis import redis_server as start_redis

from api.app import create_app
from api.limits import bucket
from api.limits.bucket import Buckets, Rate
from api.settings import ApiSettings
from catalog.engine import migrate

from .conftest import Workers, serving

TOKEN = "s3cret-token-of-the-server"
Problem = Callable[..., dict[str, Any]]
# So slow that none comes back while a test runs.
NEVER = 1 / 3600


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is slow since the machine is busy counts still; one that is gone refuses."""
    monkeypatch.setattr(bucket, "_TIMEOUT_S", 60.0)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture
def make_replica(
    tmp_path: Path, redis_server: RedisServer
) -> Iterator[Callable[..., httpx.Client]]:
    """A client of one more replica; the arguments are settings."""
    url = f"sqlite:///{tmp_path}/catalog.db"
    migrate(url)
    shared = redis_server.new_database()
    with ExitStack() as stack:

        def make(broker_url: str = shared, **settings: Any) -> httpx.Client:
            known: dict[str, Any] = {"database_url": url, "data": tmp_path, "api_token": TOKEN}
            app_settings = ApiSettings(**known | settings)
            app = create_app(app_settings, Workers(None), broker_url=broker_url)
            address = stack.enter_context(serving(app))
            client = httpx.Client(
                base_url=address, timeout=60, headers={"Authorization": f"Bearer {TOKEN}"}
            )
            return stack.enter_context(client)

        yield make


def test_replicas_count_a_caller_together(
    make_replica: Callable[..., httpx.Client], problem: Problem
) -> None:
    one, other = (make_replica(rate_limit=NEVER, rate_burst=6) for _ in range(2))
    for client in (one, other) * 3:
        assert client.get("/v1/environments").status_code == 200
    for client in (one, other):
        refused = client.get("/v1/environments")
        told = problem(refused, 429, "rate-limited")
        assert "more than 6 at once" in told["detail"]
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert 'kitbag_rate_limited_total{by="user"} 1.0' in client.get("/metrics").text
    for path in ("/healthz", "/metrics"):
        assert one.get(path).status_code == 200


def test_wrong_tokens_and_deliveries_are_counted_by_their_address(
    make_replica: Callable[..., httpx.Client], problem: Problem
) -> None:
    client = make_replica(rate_limit_unknown=NEVER, rate_burst_unknown=3)
    wrong = {"Authorization": "Bearer wrong"}
    assert client.get("/v1/environments", headers=wrong).status_code == 401
    assert client.post("/v1/hooks/gitea?hook=none", content=b"{}").status_code in (401, 404)
    assert client.get("/sign-in").status_code == 200
    problem(client.get("/v1/environments", headers=wrong), 429, "rate-limited")
    problem(client.post("/v1/hooks/gitea?hook=none", content=b"{}"), 429, "rate-limited")
    # Whoever is known is not held up by what else comes from their address.
    assert client.get("/v1/environments").status_code == 200


def test_an_api_server_is_never_refused(make_replica: Callable[..., httpx.Client]) -> None:
    client = make_replica(rate_limit_unknown=NEVER, rate_burst_unknown=1, rate_burst=1)
    answers = [client.post("/v1/admission/validate", json={}).status_code for _ in range(4)]
    assert 429 not in answers


def test_a_redis_that_is_away_limits_nobody_and_is_counted(
    make_replica: Callable[..., httpx.Client], own_redis: RedisServer
) -> None:
    client = make_replica(broker_url=own_redis.url, rate_limit=NEVER, rate_burst=1)
    assert client.get("/v1/environments").status_code == 200
    assert client.get("/v1/environments").status_code == 429
    own_redis.kill()
    other = make_replica(broker_url=own_redis.url, rate_limit=NEVER, rate_burst=1)
    assert [other.get("/v1/environments").status_code for _ in range(3)] == [200] * 3
    assert "kitbag_rate_unchecked_total 3.0" in other.get("/metrics").text


def test_replicas_never_give_more_than_a_bucket_has(redis_server: RedisServer) -> None:
    url = redis_server.new_database()

    async def ask(rate: Rate) -> tuple[int, float]:
        began = time.monotonic()
        replicas = [Buckets(url, lambda: None) for _ in range(3)]
        key = f"never-more-{rate.per_s}"
        waits = await asyncio.gather(*(replicas[n % 3].take(key, rate) for n in range(300)))
        for each in replicas:
            await each.close()
        return sum(wait == 0 for wait in waits), time.monotonic() - began

    passed, _ = asyncio.run(ask(Rate(NEVER, 50)))
    assert passed == 50
    # Here each takes several at once, of which some may be lost.
    passed, took_s = asyncio.run(ask(Rate(40, 50)))
    assert 1 <= passed <= 51 + 40 * took_s


def test_a_bucket_fills_again(redis_server: RedisServer) -> None:
    buckets_url, rate = redis_server.new_database(), Rate(1, 1)

    async def ask() -> list[float]:
        buckets = Buckets(buckets_url, lambda: None)
        await buckets.take("a", rate)
        waits = []
        while not waits or waits[-1]:
            waits.append(await buckets.take("a", rate))
            await asyncio.sleep(waits[-1])
        await buckets.close()
        return waits

    waits = asyncio.run(ask())
    assert waits[-1] == 0
    assert max(waits) <= 1
