"""Bad days of a deployment: the registry, the queue, the catalog and the impatient user."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.servers import Deploy, Deployed
from rig.postgres import Postgres, postgres_server
from rig.process import children
from rig.proxy import Proxy
from rig.redis import RedisServer
from rig.redis import redis_server as start_redis
from rig.registry import Registry
from rig.wheels import WheelFactory

QUICK = {"KITBAG_HEARTBEAT_S": "0.5", "KITBAG_LEASE_S": "10", "KITBAG_SWEEP_S": "1"}
MakeProxy = Callable[[int], Proxy]


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that this test may kill; it forgets everything."""
    with start_redis() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that this test may stop."""
    with postgres_server() as server:
        yield server


def index_port(index: WheelFactory) -> int:
    return int(re.findall(r":(\d+)/", index.index_url)[0])


def test_a_registry_that_refuses_or_dies_costs_one_build_and_no_more(
    deploy: Deploy,
    make_proxy: MakeProxy,
    registry: Registry,
    index: WheelFactory,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
) -> None:
    index.wheel("heavy", files={"heavy/data": bytes(range(256)) * 8000, "heavy/__init__.py": ""})
    network = make_proxy(registry.port)
    site = deploy(
        store=f"registry://{network.host}/faults",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=broker_url(),
        **QUICK,
    )
    site.build("faults/first", "one")

    network.refuse = True
    network.reset()
    refused = site.wait(site.submit("faults/refused", "two").json()["id"])
    assert refused["state"] == "failed"
    assert refused["error"]["type"].endswith("/store-unreachable")
    assert f"{network.host} did not answer" in refused["error"]["detail"]
    assert refused["error"]["detail"].endswith("try again.")
    network.refuse = False

    network.die_after_bytes = 3000
    died = site.wait(site.submit("faults/died", "heavy", "three").json()["id"])
    assert died["state"] == "failed"
    assert died["error"]["type"].endswith("/store-unreachable")
    network.die_after_bytes = None
    assert site.get("/v1/environments/faults/died")["versions"] == 0

    healed = site.build("faults/died", "heavy", "three")
    assert healed["version"] == 1
    assert site.ready()


def test_a_slow_registry_does_not_hold_up_a_cancellation(
    deploy: Deploy,
    make_proxy: MakeProxy,
    registry: Registry,
    index: WheelFactory,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
) -> None:
    noise = b"".join(bytes([i * 37 % 256, i * 101 % 256, i * 7 % 256]) for i in range(60_000))
    index.wheel("noisy", files={"noisy/data": noise}, stored=["noisy/data"])
    network = make_proxy(registry.port)
    site = deploy(
        store=f"registry://{network.host}/slow",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=broker_url(),
        **QUICK,
    )
    site.build("slow/first", "one")
    network.bytes_per_s = 4000  # its layer takes 45 s
    build_id = site.submit("slow/second", "noisy").json()["id"]
    site.wait_for_state(build_id, "building", "pushing")
    time.sleep(1)
    began = time.monotonic()
    assert site.http.delete(f"/v1/builds/{build_id}").status_code == 202
    assert site.wait(build_id)["state"] == "cancelled"
    assert time.monotonic() - began < 30
    network.bytes_per_s = None
    assert site.get("/v1/environments/slow/second")["versions"] == 0
    began = time.monotonic()
    site.build("slow/third", "one")
    assert time.monotonic() - began < 30


def test_builds_are_cancelled_in_every_phase(
    deploy: Deploy,
    make_proxy: MakeProxy,
    registry: Registry,
    index: WheelFactory,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
) -> None:
    index.wheel("large", files={"large/data": os.urandom(3_000_000), "large/__init__.py": ""})
    wheels, store = make_proxy(index_port(index)), make_proxy(registry.port)
    site = deploy(
        store=f"registry://{store.host}/phases",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=broker_url(),
        KITBAG_INDEX_URL=f"{wheels.url}/simple/",
        **QUICK,
    )
    site.build("phase/first", "one")

    def cancelled(build_id: str) -> None:
        began = time.monotonic()
        assert site.http.delete(f"/v1/builds/{build_id}").status_code == 202
        build = site.wait(build_id)
        assert build["state"] == "cancelled", build
        assert build["version"] is None and build["image"] is None
        assert time.monotonic() - began < 30
        assert site.events(build_id)[-1]["kind"] == "done"
        assert site.http.delete(f"/v1/builds/{build_id}").status_code == 200
        assert site.get(f"/v1/environments/{build['environment']}")["versions"] == 0

    # An index that hangs holds both slots; a third build waits.
    wheels.reset()
    wheels.delay_s = 60
    held = [site.submit(f"phase/held{n}", "three", upgrade=True).json()["id"] for n in range(2)]
    for build_id in held:
        site.wait_for_state(build_id, "resolving")
    waiting = site.submit("phase/waiting", "four").json()["id"]
    cancelled(waiting)
    for build_id in held:
        cancelled(build_id)
    wheels.reset()
    wheels.delay_s = 0

    wheels.down_bytes_per_s = 50_000
    building = site.submit("phase/building", "large").json()["id"]
    site.wait_for_state(building, "building")
    cancelled(building)
    wheels.down_bytes_per_s = None

    store.bytes_per_s = 500
    pushing = site.submit("phase/pushing", "two").json()["id"]
    site.wait_for_state(pushing, "pushing")
    cancelled(pushing)
    store.bytes_per_s = None

    began = time.monotonic()
    site.build("phase/after", "one")
    assert time.monotonic() - began < 30


def test_what_is_accepted_while_the_queue_is_away_is_built_when_it_is_back(
    deploy: Deploy,
    own_redis: RedisServer,
    new_folder: Callable[[], Path],
) -> None:
    site = deploy(
        store=f"oci:{new_folder()}/layout",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=own_redis.url,
        **QUICK,
    )
    site.build("queue/first", "one")
    own_redis.kill()
    answer = site.submit("queue/away", "two")
    assert answer.status_code == 202
    time.sleep(2)
    assert site.get(f"/v1/builds/{answer.json()['id']}")["state"] == "queued"
    own_redis.start()
    began = time.monotonic()
    assert site.wait(answer.json()["id"])["state"] == "ready"
    assert time.monotonic() - began < 40
    site.build("queue/after", "three")


def test_a_worker_that_builds_while_the_queue_dies_goes_on_and_takes_the_next(
    deploy: Deploy,
    own_redis: RedisServer,
    make_proxy: MakeProxy,
    index: WheelFactory,
    new_folder: Callable[[], Path],
) -> None:
    wheels = make_proxy(index_port(index))
    site = deploy(
        store=f"oci:{new_folder()}/layout",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=own_redis.url,
        KITBAG_INDEX_URL=f"{wheels.url}/simple/",
        **QUICK,
    )
    site.build("outlive/first", "one")
    wheels.reset()
    wheels.delay_s = 5
    held = site.submit("outlive/held", "two", upgrade=True).json()["id"]
    site.wait_for_state(held, "resolving")
    own_redis.kill()
    wheels.delay_s = 0
    assert site.wait(held)["state"] == "ready"
    own_redis.start()
    site.build("outlive/next", "three")
    assert all(worker.running for worker in site.workers)


def test_a_catalog_that_restarts_while_builds_run_is_told_how_they_ended(
    deploy: Deploy,
    own_postgres: Postgres,
    make_proxy: MakeProxy,
    index: WheelFactory,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
) -> None:
    wheels = make_proxy(index_port(index))
    site = deploy(
        store=f"oci:{new_folder()}/layout",
        database_url=own_postgres.create_database(),
        broker_url=broker_url(),
        KITBAG_INDEX_URL=f"{wheels.url}/simple/",
        **QUICK | {"KITBAG_LEASE_S": "60"},
    )
    site.build("catalog/first", "one")
    wheels.reset()
    wheels.delay_s = 1
    builds = [site.submit(f"catalog/n{n}", "two", "three").json()["id"] for n in range(2)]
    for build_id in builds:
        site.wait_for_state(build_id, "resolving")
    own_postgres.stop()
    time.sleep(4)
    own_postgres.start()
    for build_id in builds:
        build = site.wait(build_id)
        assert build["state"] == "ready", build["error"]
    site.build("catalog/after", "four")


def test_two_hundred_identical_requests_are_one_build(
    deploy: Deploy,
    own_postgres: Postgres,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
) -> None:
    site = deploy(
        store=f"oci:{new_folder()}/layout",
        database_url=own_postgres.create_database(),
        broker_url=broker_url(),
        **QUICK,
    )
    at_once = threading.Barrier(20)

    def ask(number: int) -> tuple[int, str]:
        if number < 20:
            at_once.wait()
        answer = site.submit("same/one", "two", "three")
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(20) as many:
        answers = list(many.map(ask, range(200)))
    assert len({build_id for _, build_id in answers}) == 1
    assert sorted(status for status, _ in answers) == [200] * 199 + [202]
    assert site.wait(answers[0][1])["version"] == 1
    assert len(site.get("/v1/builds", environment="same/one")["items"]) == 1


def test_workers_stay_small(
    deploy: Deploy,
    new_folder: Callable[[], Path],
    broker_url: Callable[[], str],
    index: WheelFactory,
) -> None:
    modules = {f"bulk/m{n}.py": f"x = {list(range(n, n + 3000))}\n" for n in range(300)}
    index.wheel("bulk", files=modules | {"bulk/data": bytes(range(256)) * 200_000})
    site: Deployed = deploy(
        store=f"oci:{new_folder()}/layout",
        database_url=f"sqlite:///{new_folder()}/catalog.db",
        broker_url=broker_url(),
        **QUICK,
    )
    site.build("small/one", "bulk", "two")
    pid = site.workers[0].pid
    assert pid is not None
    peaks = {child: peak_bytes(child) for child in [pid, *children(pid)]}
    assert max(peaks.values()) < 300e6, peaks


def peak_bytes(pid: int) -> int:
    """The most memory that a process had resident (VmHWM of proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024
