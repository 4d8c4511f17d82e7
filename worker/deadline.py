"""When a build must stop: somebody cancelled it, or its time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.errors import CancelledError, TimedOutError


class Deadline:
    """Says when a build must stop: somebody cancelled it, or its time is over."""

    def __init__(self, timeout_s: float, cancelled: Callable[[], bool]) -> None:
        self._end = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._cancelled = cancelled

    def __call__(self) -> bool:
        return self._cancelled() or time.monotonic() > self._end

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Tells whoever stopped because this said so apart: those cancelled, those too late."""
        try:
            yield
        except CancelledError:
            self.check()
            raise

    def check(self) -> None:
        """Raise CancelledError or TimedOutError if the build must stop."""
        if self._cancelled():
            raise CancelledError("The build was cancelled.")
        if time.monotonic() > self._end:
            raise TimedOutError(
                f"The build took longer than its limit of {self._timeout_s:g} s; "
                "ask for fewer packages at once, or the operator for a higher limit."
            )
