"""What a build reports arrives in order, in few transactions, also past a catalog that was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from rig.postgres import Postgres, postgres_server
from sqlalchemy import event

from builder.model import Step
from catalog.states import BuildState
from worker import building
from worker.reporter import Reporter

from .conftest import Site

Make = Callable[..., Site]


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that this test may stop."""
    with postgres_server() as server:
        yield server


def lines(site: Site, build_id: str) -> list[str]:
    return [e.message for e in site.events(build_id) if e.kind == "log"]


def test_steps_arrive_in_order_and_in_batches(site: Site) -> None:
    build_id = site.ask("one")
    commits: list[object] = []
    event.listen(site.engine, "commit", commits.append)
    with Reporter(site.engine, build_id) as report:
        for number in range(500):
            report(Step("log", "resolving", f"line {number}"))
    assert lines(site, build_id) == [f"line {number}" for number in range(500)]
    assert len(commits) < 50


def test_of_much_progress_only_the_last_is_told(site: Site) -> None:
    build_id = site.ask("one")
    with Reporter(site.engine, build_id) as report:
        for number in range(1000):
            report(Step("progress", "building", str(number), {"done": number}))
        report(Step("log", "building", "all of them"))
    told = [e.message for e in site.events(build_id)][1:]
    assert told[-2:] == ["999", "all of them"]
    assert len(told) < 100


def test_a_flush_returns_when_all_is_written(site: Site) -> None:
    build_id = site.ask("one")
    with Reporter(site.engine, build_id) as report:
        for number in range(20):
            report(Step("log", "resolving", str(number)))
            report.flush()
            assert lines(site, build_id)[-1] == str(number)


def test_a_step_that_cannot_be_told_does_not_stop_those_after_it(site: Site) -> None:
    build_id = site.ask("one")
    with Reporter(site.engine, build_id) as report:
        report(Step("rumour", "resolving", "no such kind"))
        report.flush()
        report(Step("log", "resolving", "after"))
    assert lines(site, build_id) == ["after"]


def test_steps_wait_for_a_catalog_that_is_away(make_site: Make, own_postgres: Postgres) -> None:
    site = make_site(database_url=own_postgres.create_database())
    build_id = site.ask("one")
    with Reporter(site.engine, build_id) as report:
        report(Step("log", "resolving", "before"))
        report.flush()
        own_postgres.stop()
        report(Step("log", "resolving", "meanwhile"))
        time.sleep(1)
        report(Step("log", "resolving", "later"))
        own_postgres.start()
    assert lines(site, build_id) == ["before", "meanwhile", "later"]


def test_a_catalog_that_restarts_in_the_middle_of_a_build_costs_time_only(
    make_site: Make, own_postgres: Postgres
) -> None:
    site = make_site(database_url=own_postgres.create_database(), heartbeat_s=0.3, lease_s=30)
    site.network.delay_s = 0.5
    build_id = site.ask("two")
    work = Thread(target=building.build, args=(site.kit, build_id))
    work.start()
    site.wait(build_id, BuildState.RESOLVING)
    own_postgres.stop()
    time.sleep(4)  # the work is done meanwhile, but for what the catalog must be told
    own_postgres.start()
    work.join(60)
    row = site.row(build_id)
    assert (row.state, row.attempt, row.version) == (BuildState.READY, 1, 1), row.error
    states = [e.data["state"] for e in site.events(build_id) if e.kind in ("state", "done")]
    assert states == ["queued", "resolving", "building", "pushing", "ready"]
