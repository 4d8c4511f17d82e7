"""The build's state machine: the one place that says which step may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class BuildState(StrEnum):
    """Where a build is."""

    QUEUED = "queued"
    RESOLVING = "resolving"
    BUILDING = "building"
    PUSHING = "pushing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING = frozenset({BuildState.RESOLVING, BuildState.BUILDING, BuildState.PUSHING})
ACTIVE = RUNNING | {BuildState.QUEUED}
ENDED = frozenset({BuildState.READY, BuildState.FAILED, BuildState.CANCELLED})

_S = BuildState
NEXT: Mapping[BuildState, frozenset[BuildState]] = {
    # A queued build fails when it ran out of attempts: the sweep ends it without a worker.
    _S.QUEUED: frozenset({_S.RESOLVING, _S.FAILED, _S.CANCELLED}),
    # Nothing to build or nothing to push is a valid build, so a phase may be passed over.
    _S.RESOLVING: frozenset(
        {_S.BUILDING, _S.PUSHING, _S.READY, _S.FAILED, _S.CANCELLED, _S.QUEUED}
    ),
    _S.BUILDING: frozenset({_S.PUSHING, _S.READY, _S.FAILED, _S.CANCELLED, _S.QUEUED}),
    _S.PUSHING: frozenset({_S.READY, _S.FAILED, _S.CANCELLED, _S.QUEUED}),
    _S.READY: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}


def allowed(before: BuildState, after: BuildState) -> bool:
    """Whether a build may go from one state to the other in one step."""
    return after in NEXT[before]


def sources(after: BuildState) -> frozenset[BuildState]:
    """The states from which one step leads to `after`."""
    return frozenset(before for before, steps in NEXT.items() if after in steps)


def in_order(states: frozenset[BuildState]) -> list[str]:
    """The values in the machine's order, so that SQL text made of them is always the same."""
    return [state.value for state in BuildState if state in states]
