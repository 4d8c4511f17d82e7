"""What one build may use, and how many of a tenant's are begun."""

from __future__ import annotations

import pytest

from catalog.allowance import Allowance
from catalog.engine import reading
from catalog.models import Version
from catalog.states import BuildState
from worker import building
from worker.allowed import Allowed

from .conftest import Site

ANA = "user:ana"


def test_an_image_over_its_limit_is_not_published(site: Site) -> None:
    row = site.work("one", allowance=Allowance(ANA, image_bytes=100))
    assert row.state is BuildState.FAILED
    assert row.error is not None
    assert row.error["type"] == "limit-exceeded"
    assert "are allowed; leave packages out" in row.error["detail"]
    with reading(site.engine) as session:
        assert session.query(Version).count() == 0
    assert site.kit.store.missing("alice/gan", []) == set()
    assert not list((site.layout / "index").rglob("alice*"))


def test_a_build_over_its_time_is_ended(site: Site) -> None:
    row = site.work("one", allowance=Allowance(ANA, build_seconds=0.001))
    assert row.state is BuildState.FAILED
    assert row.error is not None
    assert row.error["type"] == "timed-out"
    assert "its limit of 0.001 s" in row.error["detail"]


def test_the_server_s_own_time_limit_holds_too() -> None:
    assert Allowed(seconds=100).within_s(10) == 10
    assert Allowed(seconds=5).within_s(10) == 5
    assert Allowed().within_s(10) == 10


def test_what_waited_for_a_tenant_s_other_build_is_sent_for_when_that_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("worker.building.enqueue_build", lambda *told: sent.append(told))
    one = Allowance(ANA, concurrent=1)
    first = site.ask("one", environment="alice/a", allowance=one)
    second = site.ask("one", environment="alice/b", allowance=one)
    building.build(site.kit, first)
    assert site.row(first).state is BuildState.READY
    assert sent == [(first, "layered")]
    building.build(site.kit, *sent.pop())
    assert site.row(second).state is BuildState.READY
    assert sent == []


def test_a_build_counts_what_it_added_to_the_store(site: Site) -> None:
    first = site.work("one", environment="alice/a")
    again = site.work("one", environment="alice/b")
    assert first.stored_bytes > again.stored_bytes
    assert first.stats is not None
    assert first.stored_bytes == first.stats["bytes_moved"]
