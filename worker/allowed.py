"""What one build may use, as its quota said when it was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

from builder.errors import LimitExceededError
from catalog.build_models import Build

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Allowed:
    """The limits of a build; None is no limit beside the server's own."""

    seconds: float | None = None
    image_bytes: int | None = None

    @classmethod
    def of(cls, row: Build) -> Allowed:
        """What the row says."""
        return cls(row.build_seconds, row.image_bytes)

    def within_s(self, server_s: float) -> float:
        """The time limit, given the server's own."""
        return min(server_s, self.seconds or math.inf)

    def check_image(self, size_bytes: int) -> None:
        """Raise LimitExceededError for an image that is too large."""
        if self.image_bytes is not None and size_bytes > self.image_bytes:
            raise LimitExceededError(
                f"The image has {size_bytes / _GIB:.2f} GiB, its base included, and "
                f"{self.image_bytes / _GIB:.2f} GiB are allowed; leave packages out, or ask the "
                "operator for a larger quota."
            )


NO_LIMITS = Allowed()
