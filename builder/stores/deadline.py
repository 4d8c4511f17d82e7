"""How long to keep trying: one deadline for a whole operation, growing pauses between attempts."""

from __future__ import annotations

import random
import time

from builder.errors import StoreUnreachableError

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 15.0
LONGEST_ASKED_S = 120.0
"""A registry that asks for more patience than this gets none."""


class Retriable(Exception):  # noqa: N818  # never leaves this package: a signal, not an error
    """An attempt failed in a way that another one may not; `reason` holds no secrets."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Patience:
    """What is left of an operation's time and attempts."""

    def __init__(self, host: str, *, deadline_s: float, retries: int) -> None:
        self._host = host
        self._deadline_s = deadline_s
        self._ends = time.monotonic() + deadline_s
        self._retries = retries
        self._failures = 0

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; StoreUnreachableError once there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise StoreUnreachableError(
                f"{self._host} was too slow (no end after {self._deadline_s:g} s): check its load "
                "and the network, then try again"
            )
        return left

    def progress(self) -> None:
        """Something moved: what failed before doesn't count any more."""
        self._failures = 0

    def pause(self, failure: Retriable) -> None:
        """Wait before the next attempt; StoreUnreachableError when there should be none.

        Full jitter, so that many workers that one restart cut off don't come back as one.
        """
        self._failures += 1
        if self._failures > self._retries:
            raise StoreUnreachableError(
                f"{self._host} did not answer as it should ({failure.reason}, "
                f"{self._failures} times): check that it is up and reachable, then try again"
            ) from failure
        longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 4 ** (self._failures - 1))
        pause_s = random.uniform(longest / 4, longest)  # noqa: S311  # not a secret
        if failure.retry_after_s is not None:
            pause_s = failure.retry_after_s + pause_s / 4
        if pause_s >= min(self.left_s, LONGEST_ASKED_S):
            raise StoreUnreachableError(
                f"{self._host} asks to wait {pause_s:.0f} s ({failure.reason}), longer than this "
                "operation waits: try again later"
            ) from failure
        time.sleep(pause_s)
