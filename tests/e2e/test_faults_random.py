"""`kill -9` of any part at any moment, and a line that is cut, lose nothing: two dozen moments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import needed
from faults.__main__ import rage, table
from faults.parts import Site, opened
from rig.process import temp_dir

pytestmark = [pytest.mark.rig, pytest.mark.slow, pytest.mark.timeout(900)]
SEED = 20_260_101


@pytest.fixture
def site(debian_made: None) -> Iterator[Site]:
    """Without an engine: tests/binder kills that."""
    with temp_dir("storm") as folder, needed(), opened(folder) as started:
        yield started


def test_whatever_is_killed_every_accepted_build_comes_to_its_right_end(site: Site) -> None:
    storm, verdict = rage(site, builds=45, kills=16, others=3, seed=SEED, interrupted=3)
    assert verdict.right, (verdict.wrong, table(storm, verdict), site.kitbag.logs())
    assert {"child", "worker", "api", "queue", "catalog", "registry"} <= set(storm.counts())
    assert verdict.accepted >= 25
    assert verdict.requeued >= 3, "hardly any build was interrupted"
