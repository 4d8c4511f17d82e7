"""Rollouts: planned with each version, worked on by one worker at a time, never lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from catalog import rollouts, versions
from catalog.engine import reading, writing
from catalog.errors import LostRolloutError, RolloutNotFoundError
from catalog.rollout_models import RolloutRun, RunState
from catalog.rollouts import Order, Outcome

SILENT = timedelta(minutes=5)
ENV = "alice/gan"
NOTEBOOK = {"kind": "Notebook", "name": "gan"}
DONE = Outcome("kubeflow.org/v1", "Notebook", "gan", "done", "what starts next has it", ("old",))


@pytest.fixture
def registered(shop) -> int:
    """A rollout of an environment that has one version."""
    shop.new_version()
    with writing(shop.engine) as session:
        return rollouts.add(session, ENV, Order("alice", objects=[NOTEBOOK])).id


def states(engine: Engine) -> dict[int, RunState]:
    with reading(engine) as session:
        rows = session.execute(select(RolloutRun.number, RolloutRun.state))
        return {row[0]: row[1] for row in rows}


def due(engine: Engine) -> list[int]:
    with reading(engine) as session:
        return list(rollouts.due(session, SILENT))


def test_a_new_rollout_begins_with_the_version_there_is(engine, registered):
    assert states(engine) == {1: RunState.PENDING}


def test_each_new_version_is_planned_in_its_own_transaction_and_supersedes_what_waits(
    shop, engine, registered
):
    shop.new_version()
    assert states(engine) == {1: RunState.SUPERSEDED, 2: RunState.PENDING}
    with writing(engine) as session:
        versions.rollback(session, ENV, "1")
    assert states(engine)[3] is RunState.PENDING
    with pytest.raises(KeyError), writing(engine) as session:
        versions.rollback(session, ENV, "1")
        raise KeyError
    assert 4 not in states(engine)


def test_a_run_is_taken_once_and_its_results_are_kept(engine, registered):
    (run_id,) = due(engine)
    with writing(engine) as session:
        run = rollouts.claim(session, run_id, "w1", SILENT)
        assert run is not None
        assert run.rollout.objects == [NOTEBOOK]
        assert rollouts.claim(session, run_id, "w2", SILENT) is None
        assert rollouts.beat(session, run_id, run.attempt)
        rollouts.record(session, run_id, run.attempt, DONE)
        rollouts.record(session, run_id, run.attempt, DONE)
        rollouts.finish(session, run_id, run.attempt)
    with reading(engine) as session:
        _, last = rollouts.get(session, ENV, registered)
        assert last is not None
        assert last.state is RunState.DONE
        (result,) = rollouts.results(session, run_id)
        assert (result.state, result.before) == ("done", {"images": ["old"]})
    assert due(engine) == []


def test_what_ended_is_due_again_on_demand_and_what_runs_is_left(engine, registered):
    (run_id,) = due(engine)
    with writing(engine) as session:
        run = rollouts.claim(session, run_id, "w1", SILENT)
        assert run is not None
        _, running = rollouts.again(session, ENV, registered)
        assert running is not None
        assert running.state is RunState.RUNNING
        rollouts.finish(session, run_id, run.attempt)
        rollouts.again(session, ENV, registered)
    assert due(engine) == [run_id]


def test_what_waits_for_later_is_due_then_and_not_before(engine, registered):
    (run_id,) = due(engine)
    with writing(engine) as session:
        run = rollouts.claim(session, run_id, "w1", SILENT)
        assert run is not None
        rollouts.finish(session, run_id, run.attempt, again_in=timedelta(hours=1))
    assert due(engine) == []
    with writing(engine) as session:
        assert rollouts.claim(session, run_id, "w1", SILENT) is None
        row = session.get_one(RolloutRun, run_id)
        assert (row.state, row.tries) == (RunState.PENDING, 1)


def test_a_dead_workers_run_is_handed_on_and_its_late_words_are_refused(engine, registered):
    (run_id,) = due(engine)
    with writing(engine) as session:
        first = rollouts.claim(session, run_id, "w1", SILENT)
        assert first is not None
        old = first.attempt
        assert list(rollouts.running(session)) == [(run_id, "w1")]
    assert due(engine) == []
    with writing(engine) as session:
        assert rollouts.claim(session, run_id, "w2", timedelta(0)) is not None
        assert rollouts.claim(session, run_id, "w3", SILENT, dead=True) is not None
        with pytest.raises(LostRolloutError):
            rollouts.record(session, run_id, old, DONE)


def test_two_versions_of_a_rollout_are_never_worked_on_at_once(shop, engine, registered):
    (first,) = due(engine)
    with writing(engine) as session:
        run = rollouts.claim(session, first, "w1", SILENT)
        assert run is not None
        attempt = run.attempt
    shop.new_version()
    (second,) = due(engine)
    with writing(engine) as session:
        assert rollouts.claim(session, second, "w2", SILENT) is None
        assert not rollouts.beat(session, first, attempt)
        rollouts.finish(session, first, attempt, superseded=True)
        assert rollouts.claim(session, second, "w2", SILENT) is not None


def test_a_removed_rollout_is_forgotten_with_its_runs(shop, engine, registered):
    (run_id,) = due(engine)
    with writing(engine) as session:
        run = rollouts.claim(session, run_id, "w1", SILENT)
        assert run is not None
        rollouts.record(session, run_id, run.attempt, DONE)
        attempt = run.attempt
    with writing(engine) as session:
        rollouts.remove(session, ENV, registered)
    with writing(engine) as session:
        with pytest.raises(LostRolloutError):
            rollouts.record(session, run_id, attempt, DONE)
        with pytest.raises(RolloutNotFoundError):
            rollouts.get(session, ENV, registered)
        assert list(rollouts.listing(session, ENV)) == []
    shop.new_version()
    assert states(engine) == {}
