"""What dead processes left: builds that nobody works on, messages that were lost, files."""

from __future__ import annotations

import logging
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from catalog import runs, turns
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.states import BuildState
from worker import identity, scratch
from worker.services import Services

log = logging.getLogger(__name__)

_AT_ONCE = timedelta(0)
_OURS_IN_TMP = (
    "kitbag-lock-*",
    "kitbag-uv-*",
    "kitbag-git-*",
    "kitbag-apt-*",
    "kitbag-mmdebstrap-*",
    "kitbag-engine-*",
)


def requeue_dead(kit: Services) -> dict[str, list[str]]:
    """Queue again what dead workers had; the ids of the builds that wait now, by lane.

    A worker on this machine is seen to be dead at once, one elsewhere when its lease is over.
    """
    settings = kit.settings
    lease = timedelta(seconds=settings.lease_s)
    silent = {row.id for row in _running(kit, lease)}
    if silent:
        # A catalog that was away made every worker silent: give them time for one more beat.
        time.sleep(1.5 * settings.heartbeat_s)
        silent &= {row.id for row in _running(kit, lease)}
    dead = [
        row for row in _running(kit, _AT_ONCE) if row.id in silent or identity.is_dead(row.worker)
    ]
    again: dict[str, list[str]] = defaultdict(list)
    for row in dead:
        if requeue(kit, row):
            again[row.lane].append(row.id)
    return dict(again)


def requeue(kit: Services, row: Build) -> bool:
    """Queue a build that its worker left again; whether it waits now.

    It doesn't when it was to be cancelled, when too many workers died over it, or when somebody
    else was first.
    """
    with writing(kit.engine) as session:
        again = runs.requeue(session, row.id, attempt=row.attempt)
        if again is None or again.state is not BuildState.QUEUED:
            return False
        if again.attempt > kit.settings.max_attempts:
            runs.finish_failed(session, row.id, _gave_up(row), attempt=again.attempt)
            return False
    log.warning("build %s was left by %s; queued again", row.id, row.worker)
    return True


def waiting(kit: Services) -> dict[str, list[str]]:
    """Builds that wait for longer than a queue takes to deliver, by lane: it may have lost them."""
    with reading(kit.engine) as session:
        age = timedelta(seconds=kit.settings.sweep_s)
        return {
            lane: [row.id for row in runs.queued_longer_than(session, age, lane)]
            for lane in turns.lanes(session)
        }


def tell(
    build_ids: Sequence[str], mark: Callable[[str], bool], enqueue: Callable[[str], None]
) -> None:
    """Tell the queue of builds that `mark` says it was not told of lately."""
    for build_id in build_ids:
        if mark(build_id):
            enqueue(build_id)


def remove_files(kit: Services) -> None:
    """Keep this worker's cache within its limit, and its scratch free of what died."""
    settings = kit.settings
    removed = scratch.remove_dead(settings.cache_root / "scratch")
    if removed:
        log.info("removed the scratch of %s dead processes", removed)
    freed = kit.cache.trim(settings.cache_max_bytes)
    if freed:
        log.info("freed %s bytes of cached layers", freed)
    oldest = time.time() - 2 * settings.build_timeout_s
    for pattern in _OURS_IN_TMP:
        scratch.remove_older(Path(tempfile.gettempdir()), oldest, pattern)


def _running(kit: Services, silent_for: timedelta) -> Sequence[Build]:
    with reading(kit.engine) as session:
        return runs.stale(session, silent_for)


def _gave_up(row: Build) -> dict[str, Any]:
    return {
        "type": "internal",
        "detail": f"{row.attempt} workers died while they built this, perhaps for lack of memory; "
        f"its operator finds out why in the log under {row.id}.",
    }
