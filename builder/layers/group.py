"""Which wheels share a layer, so that one package more or less changes one small layer.

An overlay mount takes at most 127 layers, base included. A large wheel has a layer of its own; the
small ones share buckets, chosen by a stable hash of the package's name. So the same package is
always in the same bucket, whatever else is installed and whatever its version.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from builder.errors import TooLargeError
from builder.model import LockedWheel

MAX_LAYERS = 127
ALONE_BYTES = 1 << 20
BUCKETS = 32
OWN_LAYERS = 2
"""The skeleton below the packages and the record of the lock above them."""


@dataclass(frozen=True, slots=True)
class Group:
    """The wheels of one layer, sorted by name; `bucket` is None for a wheel alone."""

    bucket: int | None
    wheels: tuple[LockedWheel, ...]

    @property
    def title(self) -> str:
        return ", ".join(f"{wheel.name} {wheel.version}" for wheel in self.wheels)


def group(wheels: Sequence[LockedWheel], base_layers: int) -> list[Group]:
    """The layers' groups from the bottom up: wheels alone, largest first, then the buckets.

    What is large and seldom changes lies below, since an engine that keeps layers as chains
    (Docker's graph drivers) unpacks again whatever lies above a change. Raises TooLargeError for a
    base with too many layers.
    """
    room = MAX_LAYERS - OWN_LAYERS - BUCKETS - base_layers
    if room < 0:
        raise TooLargeError(
            f"The base has {base_layers} layers, and an image can have {MAX_LAYERS}: flatten the "
            f"base to at most {MAX_LAYERS - OWN_LAYERS - BUCKETS}, or choose another."
        )
    limit = ladder_step(wheels, room)
    large = [wheel for wheel in wheels if wheel.size_bytes >= limit]
    alone = [
        Group(None, (wheel,)) for wheel in sorted(large, key=lambda w: (-w.size_bytes, *_id(w)))
    ]
    buckets: dict[int, list[LockedWheel]] = defaultdict(list)
    for wheel in wheels:
        if wheel.size_bytes < limit:
            buckets[bucket_of(wheel.name)].append(wheel)
    return alone + [
        Group(number, tuple(sorted(buckets[number], key=_id))) for number in sorted(buckets)
    ]


def ladder_step(wheels: Sequence[LockedWheel], room: int) -> int:
    """From which size a wheel lies alone: 1 MiB, doubled until at most `room` wheels are as large.

    Nearly every environment stays on the first step (its room is 92 wheels on a base of one layer).
    One that crosses to another step moves the wheels between the two sizes to or from buckets.
    """
    limit = ALONE_BYTES
    while sum(wheel.size_bytes >= limit for wheel in wheels) > room:
        limit *= 2
    return limit


def _id(wheel: LockedWheel) -> tuple[str, str]:
    return wheel.name, wheel.sha256


def bucket_of(name: str) -> int:
    """The bucket of a normalised package name, 0 to BUCKETS - 1."""
    return hashlib.sha256(name.encode()).digest()[0] % BUCKETS
