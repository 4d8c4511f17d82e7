from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from sqlalchemy import event

from catalog import bases, builds, environments, events, runs
from catalog.build_models import EventKind
from catalog.engine import make_engine, migrate, reading, writing
from catalog.errors import (
    BuildEndedError,
    BuildNotFoundError,
    CancelRequestedError,
    IllegalTransitionError,
    InvalidNameError,
    LostBuildError,
)
from catalog.states import BuildState
from catalog.types import utcnow

from .conftest import Shop

PROBLEM = {"type": "https://kitbag.dev/problems/unresolvable", "detail": "No numpy 99."}


def test_a_request_becomes_a_queued_build_with_its_first_event(shop):
    build, created = shop.ask_twice_told()

    assert created
    assert build.state is BuildState.QUEUED
    assert build.environment.full_name == "alice/gan"
    with reading(shop.engine) as session:
        told = events.after(session, build.id, 0)
    assert [(event.seq, event.kind) for event in told] == [(1, EventKind.STATE)]


def test_an_active_build_with_the_same_key_is_joined(shop):
    first = shop.ask()
    shop.run_to(first, BuildState.BUILDING)

    again, created = shop.ask_twice_told()

    assert (again.id, created) == (first.id, False)


def test_a_finished_version_with_the_same_key_answers(shop):
    first = shop.ask()
    version = shop.finish(first)

    again, created = shop.ask_twice_told()

    assert (again.id, created) == (first.id, False)
    assert (again.state, again.version) == (BuildState.READY, version.number)


def test_a_failed_or_cancelled_build_does_not_answer_the_next_request(shop):
    failed = shop.run_to(shop.ask(), BuildState.RESOLVING)
    with writing(shop.engine) as session:
        runs.finish_failed(session, failed.id, PROBLEM, attempt=1)
    second, created = shop.ask_twice_told()
    assert created
    with writing(shop.engine) as session:
        builds.request_cancel(session, second.id)

    third, created = shop.ask_twice_told()

    assert created
    assert len({failed.id, second.id, third.id}) == 3


def test_a_request_that_may_not_reuse_joins_only_an_active_build(shop):
    shop.finish(shop.ask())

    fresh, created = shop.ask_twice_told(reuse=builds.NEVER)
    joined = shop.ask(reuse=builds.NEVER)

    assert created
    assert joined.id == fresh.id


def test_reuse_of_the_latest_passes_over_a_version_that_another_one_followed(shop):
    first = shop.ask(key="a")
    shop.finish(first)
    assert shop.ask(key="a", reuse=builds.Reuse(latest=True)).id == first.id
    shop.finish(shop.ask(key="b"))

    back, created = shop.ask_twice_told(key="a", reuse=builds.Reuse(latest=True))

    assert created
    assert shop.finish(back).number == 3


def test_a_version_on_a_base_that_was_replaced_does_not_answer(shop):
    on_current_base = builds.Reuse(current_base=True)

    def add_base(digest):
        with writing(shop.engine) as session:
            bases.add(session, name="auto", digest=digest, image=f"r/b@{digest}", record={})

    first = shop.ask()
    add_base("old")
    shop.finish(first, base_name="auto", base_digest="old")
    assert shop.ask(reuse=on_current_base).id == first.id
    assert shop.ask(reuse=builds.Reuse(base_digests=frozenset({"old"}))).id == first.id

    add_base("new")

    assert shop.ask_twice_told(reuse=on_current_base)[1]
    with reading(shop.engine) as session:
        assert builds.find(session, "other", reuse_key="k").id == first.id
        newer = builds.Reuse(base_digests=frozenset({"new"}))
        assert builds.find(session, "other", reuse_key="k", reuse=newer) is None


def test_what_an_upgrade_built_answers_later_plain_requests(shop):
    shop.finish(shop.ask(key="plain"))
    upgrade = shop.ask(key="up", reuse_key="plain", reuse=builds.NEVER)
    shop.finish(upgrade, digest="sha256:" + "9" * 64)

    assert shop.ask(key="plain").id == upgrade.id


@pytest.mark.parametrize(
    "name", ["alice", "/gan", "alice/", "Alice/gan", "alice/a/b", "a.b/c", "a/..", "a/" + "x" * 64]
)
def test_an_impossible_environment_name_is_refused(shop, name):
    with pytest.raises(InvalidNameError):
        shop.ask(environment=name)


def test_only_one_claim_of_a_build_succeeds(shop):
    build = shop.ask()
    with writing(shop.engine) as session:
        assert runs.claim(session, build.id, "w1") is not None
    with writing(shop.engine) as session:
        assert runs.claim(session, build.id, "w2") is None
        assert runs.claim(session, "nothing", "w2") is None


def test_a_ready_build_has_its_version_its_stats_and_a_done_event_last(shop):
    build = shop.run_to(shop.ask(), BuildState.PUSHING)
    with writing(shop.engine) as session:
        version = runs.finish_ready(
            session,
            build.id,
            shop.facts(commit="c0ffee1" + "0" * 33),
            attempt=1,
            way="layered",
            stats={"packages": 1},
        )

    with reading(shop.engine) as session:
        ended = builds.get(session, build.id)
        told = events.after(session, build.id, 0)
    assert (ended.state, ended.version, ended.image) == (BuildState.READY, 1, version.image)
    assert (ended.way, ended.commit, ended.stats) == ("layered", version.commit, {"packages": 1})
    assert [event.seq for event in told] == [1, 2, 3, 4, 5]
    assert told[-1].kind is EventKind.DONE
    assert told[-1].data == {
        "state": "ready",
        "image": version.image,
        "version": 1,
        "error": None,
    }


def test_finishing_twice_adds_one_version(shop):
    build = shop.ask()
    first = shop.finish(build)
    with writing(shop.engine) as session:
        again = runs.finish_ready(session, build.id, shop.facts(), attempt=1)
    assert (again.id, again.number) == (first.id, 1)


def test_a_build_whose_cancelling_was_promised_is_not_made_ready(shop):
    build = shop.run_to(shop.ask(), BuildState.PUSHING)
    with writing(shop.engine) as session:
        builds.request_cancel(session, build.id)
    with pytest.raises(CancelRequestedError), writing(shop.engine) as session:
        runs.finish_ready(session, build.id, shop.facts(), attempt=1)
    with writing(shop.engine) as session:
        assert runs.finish_cancelled(session, build.id, attempt=1).version is None
        assert environments.get(session, build.environment.full_name).last_version == 0


def test_a_failure_keeps_its_problem_and_tells_it(shop):
    build = shop.run_to(shop.ask(), BuildState.RESOLVING)
    with writing(shop.engine) as session:
        failed = runs.finish_failed(session, build.id, PROBLEM, attempt=1)
        told = events.after(session, build.id, 0)
    assert (failed.state, failed.error) == (BuildState.FAILED, PROBLEM)
    assert told[-1].data["error"] == PROBLEM
    assert failed.ended_at is not None


def test_text_that_postgresql_can_not_hold_is_kept_readable(shop):
    build = shop.run_to(shop.ask(), BuildState.RESOLVING)
    with writing(shop.engine) as session:
        events.append(session, build.id, EventKind.LOG, "a\0b\ud800", data={"line": ["\0"]})
        runs.finish_failed(session, build.id, {"detail": "x\0y"}, attempt=1)
    with reading(shop.engine) as session:
        log = events.after(session, build.id, 2)[0]
        assert (log.message, log.data) == ("a\ufffdb?", {"line": ["\ufffd"]})
        assert builds.get(session, build.id).error == {"detail": "x\ufffdy"}


def test_a_queued_build_is_cancelled_at_once_and_never_claimed(shop):
    build = shop.ask()
    with writing(shop.engine) as session:
        cancelled = builds.request_cancel(session, build.id)
        assert runs.claim(session, build.id, "w") is None
        told = events.after(session, build.id, 0)
    assert cancelled.state is BuildState.CANCELLED
    assert told[-1].kind is EventKind.DONE


def test_a_running_build_is_cancelled_by_its_worker(shop):
    build = shop.run_to(shop.ask(), BuildState.BUILDING)
    with writing(shop.engine) as session:
        assert runs.heartbeat(session, build.id, attempt=1) is False
        asked = builds.request_cancel(session, build.id)
        again = builds.request_cancel(session, build.id)
    assert asked.state is BuildState.BUILDING
    assert again.cancel_requested_at == asked.cancel_requested_at
    with writing(shop.engine) as session:
        assert runs.heartbeat(session, build.id, attempt=1) is True
        assert runs.finish_cancelled(session, build.id, attempt=1).state is BuildState.CANCELLED


def test_a_build_that_ended_can_not_be_cancelled(shop):
    build = shop.ask()
    shop.finish(build)
    with writing(shop.engine) as session, pytest.raises(BuildEndedError):
        builds.request_cancel(session, build.id)


def test_a_build_that_nobody_knows_is_not_found(shop):
    with writing(shop.engine) as session:
        with pytest.raises(BuildNotFoundError):
            builds.get(session, "nothing")
        with pytest.raises(BuildNotFoundError):
            builds.request_cancel(session, "nothing")
        with pytest.raises(BuildNotFoundError):
            events.append(session, "nothing", EventKind.LOG, "x")


def test_a_build_whose_worker_is_silent_is_stale_and_goes_to_the_next_attempt(shop):
    build = shop.run_to(shop.ask(), BuildState.BUILDING)
    with writing(shop.engine) as session:
        assert runs.stale(session, timedelta(minutes=1)) == []
        assert [old.id for old in runs.stale(session, timedelta(0))] == [build.id]
        again = runs.requeue(session, build.id, attempt=1)
        assert again is not None
        assert (again.state, again.attempt, again.worker) == (BuildState.QUEUED, 2, None)
        assert runs.requeue(session, build.id, attempt=1) is None
        assert [old.id for old in runs.queued_longer_than(session, timedelta(0))] == [build.id]
        assert runs.queued_longer_than(session, timedelta(minutes=1)) == []


def test_a_worker_taken_for_dead_can_do_nothing_more_to_its_build(shop):
    build = shop.run_to(shop.ask(), BuildState.BUILDING)
    with writing(shop.engine) as session:
        runs.requeue(session, build.id, attempt=1)
        second = runs.claim(session, build.id, "w2")
    assert second is not None
    assert second.attempt == 2
    for step in (
        lambda s: runs.heartbeat(s, build.id, attempt=1),
        lambda s: runs.transition(s, build.id, BuildState.BUILDING, attempt=1),
        lambda s: runs.finish_ready(s, build.id, shop.facts(), attempt=1),
        lambda s: runs.finish_failed(s, build.id, PROBLEM, attempt=1),
        lambda s: runs.finish_cancelled(s, build.id, attempt=1),
    ):
        with pytest.raises(LostBuildError), writing(shop.engine) as session:
            step(session)
    with writing(shop.engine) as session:
        assert runs.heartbeat(session, build.id, attempt=2) is False


def test_a_requeued_build_that_was_to_be_cancelled_is_cancelled(shop):
    build = shop.run_to(shop.ask(), BuildState.BUILDING)
    with writing(shop.engine) as session:
        builds.request_cancel(session, build.id)
        ended = runs.requeue(session, build.id, attempt=1)
    assert ended is not None
    assert ended.state is BuildState.CANCELLED


def test_a_step_that_the_machine_does_not_have_is_refused(shop):
    build = shop.run_to(shop.ask(), BuildState.PUSHING)
    with writing(shop.engine) as session:
        with pytest.raises(IllegalTransitionError):
            runs.transition(session, build.id, BuildState.BUILDING, attempt=1)
        with pytest.raises(IllegalTransitionError):
            runs.transition(session, build.id, BuildState.READY, attempt=1)


def test_builds_are_listed_newest_first_by_environment_and_state_and_page(shop):
    ids = [shop.ask(key=str(number)).id for number in range(3)]
    other = shop.ask(key="other", environment="bob/lab").id
    shop.run_to(shop.ask(key="0"), BuildState.BUILDING)

    with reading(shop.engine) as session:

        def listed(**wanted):
            return [build.id for build in builds.listing(session, **wanted)]

        assert set(listed()) == {*ids, other}
        assert listed() == sorted(listed(), reverse=True)
        assert listed(environment="bob/lab") == [other]
        assert listed(state=BuildState.BUILDING) == [ids[0]]
        first = listed(limit=2)
        assert first + listed(limit=2, before=first[-1]) == listed()


def test_times_are_aware_and_utc(shop):
    build = shop.ask()
    with reading(shop.engine) as session:
        loaded = builds.get(session, build.id)
    assert loaded.created_at.tzinfo is UTC
    assert abs(utcnow() - loaded.created_at) < timedelta(minutes=1)


def test_the_heads_of_several_builds_come_in_one_answer(shop):
    first, second = shop.ask(key="a"), shop.ask(key="b")
    shop.run_to(second, BuildState.BUILDING)
    with reading(shop.engine) as session:
        assert events.heads(session, [first.id, second.id, "nothing"]) == {
            first.id: (1, BuildState.QUEUED),
            second.id: (3, BuildState.BUILDING),
        }


def test_finding_a_build_reads_no_table_from_end_to_end(tmp_path):
    url = f"sqlite:///{tmp_path}/catalog.db"
    migrate(url)
    engine = make_engine(url)
    asked = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
    with reading(engine) as session:
        builds.find(session, "k", reuse=builds.Reuse(latest=True, base_digests=frozenset({"x"})))
        builds.find(session, "k", reuse=builds.Reuse(current_base=True))
    with engine.connect() as connection:
        for statement, parameters in [item for item in asked if "SELECT" in item[0]]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            steps = [row[3] for row in plan]
            assert any("uq_builds_active_request_key" in step for step in steps)
            assert not [step for step in steps if step.startswith("SCAN")]
    engine.dispose()


def test_a_machine_whose_clock_is_an_hour_ahead_takes_no_build_from_one_that_lives(
    postgres_url, monkeypatch
):
    migrate(postgres_url)
    engine = make_engine(postgres_url)
    shop = Shop(engine)
    build = shop.run_to(shop.ask(), BuildState.BUILDING)
    for module in ("catalog.types", "catalog.runs"):
        monkeypatch.setattr(f"{module}.utcnow", lambda: utcnow() + timedelta(hours=1))
    with reading(engine) as session:
        assert runs.stale(session, timedelta(minutes=1)) == []
    with writing(engine) as session:
        assert runs.heartbeat(session, build.id, attempt=1) is False
    with reading(engine) as session:
        assert runs.stale(session, timedelta(minutes=1)) == []
        assert [old.id for old in runs.stale(session, timedelta(0))] == [build.id]
    engine.dispose()
