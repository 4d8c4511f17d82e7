"""Heartbeats, and the sweep that finds builds that nobody works on."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from catalog import builds, runs
from catalog.engine import writing
from catalog.states import BuildState
from worker import identity, leftovers, scratch
from worker.heartbeat import Heartbeat

from .conftest import Site

Make = Callable[..., Site]
ELSEWHERE = "another-host:1 5@another-boot/pid:[1]"


def claimed(site: Site, worker: str, **more: str) -> str:
    build_id = site.ask("one", **more)
    with writing(site.engine) as session:
        assert runs.claim(session, build_id, worker) is not None
    return build_id


def until(true: Callable[[], bool], timeout_s: float = 5) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_this_process_lives_and_one_that_ended_does_not(dead_process: str) -> None:
    assert not identity.is_dead(identity.me())
    assert identity.is_dead(dead_process)


def test_a_later_process_of_the_same_number_is_another(dead_process: str) -> None:
    host, _, rest = identity.me().partition(" ")
    start, _, place = rest.partition("@")
    assert identity.is_dead(f"{host} {int(start) - 1}@{place}")


def test_nobody_is_called_dead_who_cannot_be_seen(dead_process: str) -> None:
    assert not identity.is_dead(ELSEWHERE)
    assert not identity.is_dead("host:1")
    assert not identity.is_dead("")
    assert not identity.is_dead(None)
    assert not identity.is_dead(dead_process.replace("@", "@0"))


def test_a_build_that_was_handed_on_is_heard_of(site: Site) -> None:
    build_id = claimed(site, identity.me())
    with Heartbeat(site.kit, build_id, 1) as stop:
        assert not stop()
        with writing(site.engine) as session:
            runs.requeue(session, build_id, attempt=1)
        assert until(stop)
        assert stop.lost


def test_a_cancellation_is_heard_of(site: Site) -> None:
    build_id = claimed(site, identity.me())
    with Heartbeat(site.kit, build_id, 1) as stop:
        with writing(site.engine) as session:
            builds.request_cancel(session, build_id)
        assert until(stop)
        assert not stop.lost


def test_a_heartbeat_keeps_a_build_from_the_sweep(make_site: Make) -> None:
    site = make_site(heartbeat_s=0.1, lease_s=0.4)
    beating = claimed(site, ELSEWHERE)
    silent = claimed(site, ELSEWHERE, environment="alice/other")
    with Heartbeat(site.kit, beating, 1):
        time.sleep(0.6)
        assert leftovers.requeue_dead(site.kit) == {"layered": [silent]}


def test_a_worker_elsewhere_has_until_its_lease_is_over(site: Site) -> None:
    build_id = claimed(site, ELSEWHERE)
    assert leftovers.requeue_dead(site.kit) == {}
    time.sleep(site.settings.lease_s)
    assert leftovers.requeue_dead(site.kit) == {"layered": [build_id]}
    row = site.row(build_id)
    assert (row.state, row.attempt, row.worker) == (BuildState.QUEUED, 2, None)


def test_a_dead_worker_here_is_seen_at_once(make_site: Make, dead_process: str) -> None:
    site = make_site(lease_s=600)
    build_id = claimed(site, dead_process)
    alive = claimed(site, identity.me(), environment="alice/other")
    assert leftovers.requeue_dead(site.kit) == {"layered": [build_id]}
    assert site.row(alive).state is BuildState.RESOLVING


def test_after_too_many_dead_workers_it_fails(make_site: Make, dead_process: str) -> None:
    site = make_site(max_attempts=2)
    build_id = claimed(site, dead_process)
    assert leftovers.requeue_dead(site.kit) == {"layered": [build_id]}
    with writing(site.engine) as session:
        runs.claim(session, build_id, dead_process)
    assert leftovers.requeue_dead(site.kit) == {}
    row = site.row(build_id)
    assert row.state is BuildState.FAILED
    assert row.error is not None
    assert row.error["detail"].startswith("2 workers died while they built this, perhaps")


def test_what_was_to_be_cancelled_is_cancelled_when_its_worker_died(
    site: Site, dead_process: str
) -> None:
    build_id = claimed(site, dead_process)
    with writing(site.engine) as session:
        builds.request_cancel(session, build_id)
    assert leftovers.requeue_dead(site.kit) == {}
    assert site.row(build_id).state is BuildState.CANCELLED


def test_only_builds_that_wait_for_long_are_told_again_and_each_once(make_site: Make) -> None:
    site = make_site(sweep_s=0.5)
    old = [site.ask("one", environment=f"alice/e{n}") for n in range(3)]
    time.sleep(0.6)
    site.ask("one", environment="alice/young")
    assert leftovers.waiting(site.kit) == {"layered": old}
    told: list[str] = []
    marked: set[str] = set()

    def mark(build_id: str) -> bool:
        return build_id not in marked and not marked.add(build_id)  # type: ignore[func-returns-value]

    leftovers.tell(old, mark, told.append)
    leftovers.tell(old, mark, told.append)
    assert told == old


def test_trimming_removes_what_is_old_and_ours_and_nothing_that_lives(site: Site) -> None:
    root = site.settings.cache_root / "scratch"
    alive = site.kit.scratch.path
    dead = scratch.Scratch(root)
    os.close(dead._lock)  # as the kernel does for a killed process
    (dead.path / "build-1").mkdir()
    tmp = Path(tempfile.gettempdir())
    old = Path(tempfile.mkdtemp(prefix="kitbag-lock-"))
    (old / "requirements.in").write_text("one")
    young = Path(tempfile.mkdtemp(prefix="kitbag-lock-"))
    other = Path(tempfile.mkdtemp(prefix="other-lock-"))
    long_ago = time.time() - 3 * site.settings.build_timeout_s
    for folder in (old, other):
        os.utime(folder, (long_ago, long_ago))
    try:
        leftovers.remove_files(site.kit)
        assert not dead.path.exists()
        assert alive.exists()
        assert not old.exists() and old.parent == tmp
        assert young.exists() and other.exists()
    finally:
        young.rmdir()
        other.rmdir()
