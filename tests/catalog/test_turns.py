"""Whose turn it is when many wait, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from catalog import builds, runs, turns
from catalog.allowance import Allowance
from catalog.engine import reading, writing
from catalog.states import BuildState

ANA, BEN = "user:ana", "user:ben"


def asked(shop, tenant, number, **more):
    """That many builds of one tenant, each of an environment of its own."""
    return [
        shop.ask(
            f"{tenant}-{more}-{index}",
            f"{tenant.partition(':')[2]}/e{index}",
            allowance=Allowance(tenant, **more),
        ).id
        for index in range(number)
    ]


def taken(shop, lane="layered"):
    """The tenant whose build a worker gets now, and its id; None if there is none."""
    with writing(shop.engine) as session:
        build = runs.take(session, lane, "w1")
    return None if build is None else (build.tenant, build.id)


def ended(shop, build_id):
    with writing(shop.engine) as session:
        runs.finish_failed(session, build_id, {"type": "internal"}, attempt=1)


def order(shop, number):
    """Whose builds are begun and ended, one after the other."""
    tenants = []
    for _ in range(number):
        tenant, build_id = taken(shop)
        tenants.append(tenant)
        ended(shop, build_id)
    return tenants


def test_one_build_does_not_wait_for_the_five_hundred_of_somebody_else(shop):
    asked(shop, ANA, 50)
    assert order(shop, 3) == [ANA] * 3
    asked(shop, BEN, 1)
    assert BEN in order(shop, 2)


def test_those_who_wait_take_turns(shop):
    asked(shop, ANA, 20)
    assert order(shop, 5) == [ANA] * 5
    asked(shop, BEN, 5)
    first = order(shop, 10)
    assert first.count(ANA) == first.count(BEN) == 5
    assert all({first[at], first[at + 1]} == {ANA, BEN} for at in range(0, 10, 2))
    assert order(shop, 10) == [ANA] * 10
    assert taken(shop) is None


def test_a_weight_is_a_share(shop):
    asked(shop, ANA, 20, weight=3.0)
    asked(shop, BEN, 20)
    assert order(shop, 12).count(ANA) == 9


def test_who_rested_has_saved_nothing_up(shop):
    asked(shop, ANA, 10)
    order(shop, 10)
    asked(shop, BEN, 10)
    asked(shop, ANA, 10)
    assert order(shop, 10).count(ANA) == 5


def test_the_builds_of_one_tenant_come_in_the_order_in_which_they_were_asked_for(shop):
    wanted = asked(shop, ANA, 5)
    assert [taken(shop)[1] for _ in wanted] == wanted


def test_no_more_builds_of_a_tenant_run_than_it_may_and_the_next_one_goes_first(shop):
    first, *_ = asked(shop, ANA, 3, concurrent=1)
    asked(shop, BEN, 1)
    assert [taken(shop)[0] for _ in range(2)] == [ANA, BEN]
    assert taken(shop) is None
    ended(shop, first)
    assert taken(shop)[0] == ANA


def test_a_cancelled_build_takes_no_turn(shop):
    first, second = asked(shop, ANA, 2)
    with writing(shop.engine) as session:
        builds.request_cancel(session, first)
    assert taken(shop)[1] == second


def test_a_build_that_a_dead_worker_left_goes_first(shop):
    first, *_ = asked(shop, ANA, 3)
    assert taken(shop)[1] == first
    with writing(shop.engine) as session:
        runs.requeue(session, first, attempt=1)
    assert taken(shop)[1] == first


def test_those_who_wait_for_an_engine_wait_in_a_lane_of_their_own(shop):
    """What A's builds went through in the other lane is nothing that B has to catch up with."""
    for build_id in asked(shop, ANA, 6):
        taken(shop)
        with writing(shop.engine) as session:
            runs.hand_on(session, build_id, attempt=1, way="binder")
    assert taken(shop) is None
    assert taken(shop, "engine")[0] == ANA
    (build_id,) = asked(shop, BEN, 1)
    taken(shop)
    with writing(shop.engine) as session:
        runs.hand_on(session, build_id, attempt=1, way="binder")
        assert turns.lanes(session) == ["engine"]
        assert turns.waiting_lanes(session, BEN) == ["engine"]
    assert BEN in [taken(shop, "engine")[0] for _ in range(2)]


def test_many_workers_take_each_build_once_and_never_too_many_of_one(shop):
    asked(shop, ANA, 12, concurrent=2)
    asked(shop, BEN, 12)
    gate = threading.Barrier(8)

    def work(_):
        gate.wait(30)
        got = []
        while (one := taken(shop)) is not None:
            got.append(one)
        return got

    with ThreadPoolExecutor(8) as pool:
        all_taken = [one for got in pool.map(work, range(8)) for one in got]
    assert len(all_taken) == len(set(all_taken)) == 14
    assert [tenant for tenant, _ in all_taken].count(ANA) == 2


def test_requests_of_one_tenant_that_come_at_once_share_no_turn(shop):
    def ask(number):
        return shop.ask(f"k{number}", f"ana/e{number}", allowance=Allowance(ANA)).id

    with ThreadPoolExecutor(8) as pool:
        build_ids = list(pool.map(ask, range(24)))
    with reading(shop.engine) as session:
        rows = [builds.get(session, build_id) for build_id in build_ids]
    assert sorted(row.turn for row in rows) == list(range(24))
    assert {row.state for row in rows} == {BuildState.QUEUED}
