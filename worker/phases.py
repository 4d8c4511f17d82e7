"""How long the phases of a build take, each as a span too where traces are on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from catalog.states import BuildState
from telemetry import tracing


class Phases:
    """The phases one after the other; `seconds` has those that are over, under their states."""

    def __init__(self) -> None:
        self.seconds: dict[BuildState, float] = {}
        self._state: BuildState | None = None
        self._began = 0.0
        self._span: Any = None

    def begin(self, state: BuildState) -> None:
        """End the phase before and begin this one; nothing if it is this one already."""
        if state is self._state:
            return
        self.end()
        self._state, self._began = state, time.monotonic()
        self._span = tracing.begin(state)

    def end(self) -> None:
        """End the phase that is under way, if one is."""
        if self._state is None:
            return
        took = time.monotonic() - self._began
        self.seconds[self._state] = self.seconds.get(self._state, 0.0) + took
        if self._span is not None:
            self._span.end()
        self._state = self._span = None


@contextmanager
def timed() -> Iterator[Phases]:
    """Phases of which none is left open when the block ends."""
    phases = Phases()
    try:
        yield phases
    finally:
        phases.end()
