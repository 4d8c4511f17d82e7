"""Many threads and many processes at once, on both databases."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text

from catalog import builds, events, runs
from catalog.build_models import Build, EventKind
from catalog.engine import make_engine, migrate, reading, writing
from catalog.models import Version
from catalog.states import BuildState

FORK = multiprocessing.get_context("fork")


def in_processes(count: int, work: Callable[[int], None]) -> None:
    """Run the work in processes that begin together; all must succeed."""
    barrier = FORK.Barrier(count)

    def run(number: int) -> None:
        barrier.wait(30)
        work(number)

    processes = [FORK.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * count


def in_threads(count: int, work: Callable[[int], object], threads: int = 24) -> list[object]:
    barrier = threading.Barrier(threads)

    def run(number: int) -> object:
        if number < threads:
            barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(count)))


def test_a_thousand_identical_requests_in_threads_make_one_build(shop):
    answers = in_threads(1000, lambda _: shop.ask_twice_told("same"))

    assert len({build.id for build, _ in answers}) == 1
    assert sum(created for _, created in answers) == 1


def test_identical_requests_in_processes_make_one_build_a_key(shop):
    def ask(_number: int) -> None:
        for key in range(25):
            shop.ask(f"key-{key}", environment=f"alice/env-{key}")

    in_processes(4, ask)

    with reading(shop.engine) as session:
        assert session.scalar(select(func.count(Build.id))) == 25


def test_requests_while_builds_end_never_run_two_at_once_or_build_what_is_ready(shop):
    """Requests race with the one worker that finishes builds of the same key."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with reading(shop.engine) as session:
                waiting = builds.listing(session, state=BuildState.QUEUED)
            for build in waiting:
                shop.finish(build)
            time.sleep(0.002)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        in_threads(300, lambda number: shop.ask(f"key-{number // 50}"), threads=12)
    finally:
        stop.set()
        worker.join()

    with reading(shop.engine) as session:
        assert session.scalar(select(func.count(Build.id))) == 6


def test_one_of_many_claims_wins(shop):
    build = shop.ask()

    def claim(number: int) -> bool:
        with writing(shop.engine) as session:
            return runs.claim(session, build.id, f"w{number}") is not None

    assert sum(in_threads(24, claim)) == 1


def test_versions_that_finish_together_are_numbered_without_gaps(shop):
    class UndoneError(Exception):
        pass

    def finish(number: int) -> None:
        build = shop.run_to(shop.ask(f"key-{number}"), BuildState.PUSHING)
        if number % 3 == 0:
            with pytest.raises(UndoneError), writing(shop.engine) as session:
                runs.finish_ready(session, build.id, shop.facts(), attempt=1)
                raise UndoneError
        with writing(shop.engine) as session:
            runs.finish_ready(session, build.id, shop.facts(branches=["main"]), attempt=1)

    in_threads(48, finish, threads=12)

    with reading(shop.engine) as session:
        numbers = session.scalars(select(Version.number).order_by(Version.number)).all()
    assert numbers == list(range(1, 49))


def test_versions_that_processes_finish_together_are_numbered_without_gaps(shop):
    in_processes(4, lambda process: [shop.finish(shop.ask(f"{process}-{i}")) for i in range(5)])

    with reading(shop.engine) as session:
        numbers = session.scalars(select(Version.number).order_by(Version.number)).all()
    assert numbers == list(range(1, 21))


def test_a_reader_never_sees_an_event_appear_before_one_it_has_seen(shop):
    build = shop.ask()
    seen: list[int] = []
    done = threading.Event()

    def follow() -> None:
        while not (done.is_set() and len(seen) == 201):
            with reading(shop.engine) as session:
                news = events.after(session, build.id, seen[-1] if seen else 0)
            seen.extend(event.seq for event in news)
            time.sleep(0.001)

    def tell(number: int) -> None:
        with writing(shop.engine) as session:
            events.append(session, build.id, EventKind.LOG, f"line {number}")

    reader = threading.Thread(target=follow)
    reader.start()
    in_threads(200, tell, threads=8)
    done.set()
    reader.join(60)

    assert seen == list(range(1, 202))


def test_processes_that_migrate_an_empty_database_at_once_agree(url):
    in_processes(6, lambda _: migrate(url))

    engine = make_engine(url)
    with engine.connect() as connection:
        revisions = connection.execute(text("SELECT version_num FROM alembic_version")).all()
    engine.dispose()
    assert len(revisions) == 1


def test_a_long_writer_makes_others_wait_and_readers_go_on(shop):
    """What fails with "database is locked" on a SQLite that is set up in the usual way."""
    build = shop.ask()
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writing(shop.engine) as session:
            events.append(session, build.id, EventKind.LOG, "slow")
            holding.set()
            release.wait(30)

    def write() -> None:
        with writing(shop.engine) as session:
            builds.get(session, build.id)
            events.append(session, build.id, EventKind.LOG, "waited")

    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(hold)
        assert holding.wait(30)
        waiting = pool.submit(write)
        with reading(shop.engine) as session:
            assert builds.get(session, build.id).last_seq == 1
        assert not waiting.done()
        release.set()
        slow.result(30)
        waiting.result(30)
    with reading(shop.engine) as session:
        assert [event.message for event in events.after(session, build.id, 1)] == ["slow", "waited"]
