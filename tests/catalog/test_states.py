"""The state machine against a model of it, over random sequences of steps."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalog import builds, events, runs
from catalog.build_models import EventKind
from catalog.engine import make_engine, migrate, reading, writing
from catalog.errors import (
    BuildEndedError,
    CancelRequestedError,
    IllegalTransitionError,
    LostBuildError,
)
from catalog.states import ACTIVE, ENDED, NEXT, RUNNING, BuildState, allowed, sources
from catalog.versions import VersionFacts

FACTS = VersionFacts(
    image="r/a@sha256:1",
    digest="sha256:1",
    content_key="c",
    python="3.11.2",
    accelerator="cpu",
    base_name="auto",
    base_digest="sha256:2",
    size_bytes=1,
    platform="linux/amd64",
)


@pytest.fixture(scope="module", autouse=True)
def _database():
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'catalog.db'}"
        migrate(url)
        BuildLife.engine = make_engine(url)
        yield
        BuildLife.engine.dispose()


class BuildLife(RuleBasedStateMachine):
    """One build, driven by steps that come in any order, some of them from a worker too late."""

    numbers = count()

    @initialize()
    def queue(self):
        with writing(self.engine) as session:
            build, _ = builds.request_build(
                session,
                environment="alice/gan",
                request={},
                request_key=f"key-{next(self.numbers)}",
                reuse=builds.NEVER,
            )
        self.id, self.state, self.attempt = build.id, BuildState.QUEUED, 1
        self.cancel_asked = False

    def step(self, after, attempt, act):
        """Do it, and expect exactly what the model allows."""
        fits = attempt == self.attempt and allowed(self.state, after)
        try:
            with writing(self.engine) as session:
                act(session)
        except (IllegalTransitionError, LostBuildError):
            assert not fits
        else:
            assert fits
            self.state = after

    attempts = st.integers(min_value=1, max_value=3)

    @rule()
    def claim(self):
        with writing(self.engine) as session:
            claimed = runs.claim(session, self.id, "w")
        assert (claimed is not None) == (self.state is BuildState.QUEUED)
        if claimed is not None:
            self.state = BuildState.RESOLVING

    @rule(after=st.sampled_from(sorted(RUNNING)), attempt=attempts)
    def transition(self, after, attempt):
        self.step(after, attempt, lambda s: runs.transition(s, self.id, after, attempt=attempt))

    @rule(attempt=attempts)
    def ready(self, attempt):
        if self.state is BuildState.READY:  # a task delivered twice: nothing changes
            with writing(self.engine) as session:
                runs.finish_ready(session, self.id, FACTS, attempt=attempt)
            return
        if self.cancel_asked and attempt == self.attempt and allowed(self.state, BuildState.READY):
            with pytest.raises(CancelRequestedError), writing(self.engine) as session:
                runs.finish_ready(session, self.id, FACTS, attempt=attempt)
            return
        self.step(
            BuildState.READY,
            attempt,
            lambda s: runs.finish_ready(s, self.id, FACTS, attempt=attempt),
        )

    @rule(attempt=attempts)
    def fail(self, attempt):
        self.step(
            BuildState.FAILED,
            attempt,
            lambda s: runs.finish_failed(s, self.id, {"detail": "no"}, attempt=attempt),
        )

    @rule(attempt=attempts)
    def stop(self, attempt):
        self.step(
            BuildState.CANCELLED,
            attempt,
            lambda s: runs.finish_cancelled(s, self.id, attempt=attempt),
        )

    @rule()
    def request_cancel(self):
        try:
            with writing(self.engine) as session:
                builds.request_cancel(session, self.id)
        except BuildEndedError:
            assert self.state in (BuildState.READY, BuildState.FAILED)
        else:
            assert self.state in ACTIVE | {BuildState.CANCELLED}
            self.cancel_asked = True
            if self.state is BuildState.QUEUED:
                self.state = BuildState.CANCELLED

    @rule(attempt=attempts)
    def requeue(self, attempt):
        with writing(self.engine) as session:
            build = runs.requeue(session, self.id, attempt=attempt)
        assert (build is not None) == (self.state in RUNNING and attempt == self.attempt)
        if build is None:
            return
        if self.cancel_asked:
            self.state = BuildState.CANCELLED
        else:
            self.state, self.attempt = BuildState.QUEUED, self.attempt + 1

    @rule(attempt=attempts)
    def heartbeat(self, attempt):
        try:
            with writing(self.engine) as session:
                asked = runs.heartbeat(session, self.id, attempt=attempt)
        except LostBuildError:
            assert self.state not in RUNNING or attempt != self.attempt
        else:
            assert asked == self.cancel_asked

    @invariant()
    def the_database_agrees(self):
        with reading(self.engine) as session:
            build = builds.get(session, self.id)
            told = events.after(session, self.id, 0)
            stale = self.id in {old.id for old in runs.stale(session, timedelta(0), limit=10_000)}
        assert (build.state, build.attempt) == (self.state, self.attempt)
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        assert [event.kind for event in told].count(EventKind.DONE) == (self.state in ENDED)
        assert (told[-1].kind is EventKind.DONE) == (self.state in ENDED)
        assert told[-1].data["state"] == self.state
        assert (build.ended_at is not None) == (self.state in ENDED)
        assert (build.version is not None) == (self.state is BuildState.READY)
        assert stale == (self.state in RUNNING)


BuildLife.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestBuildLife = BuildLife.TestCase


def test_no_step_leads_out_of_an_end():
    assert all(NEXT[state] == frozenset() for state in ENDED)


def test_every_state_can_be_reached_from_queued():
    reached, edge = {BuildState.QUEUED}, {BuildState.QUEUED}
    while edge:
        edge = {after for state in edge for after in NEXT[state]} - reached
        reached |= edge
    assert reached == set(BuildState)


def test_sources_are_the_steps_read_backwards():
    assert all(
        allowed(before, after) == (before in sources(after))
        for before in BuildState
        for after in BuildState
    )
