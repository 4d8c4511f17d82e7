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

    A wheel of a megabyte or more lies alone while there is room (for 92 on a base of one layer);
    beyond that the smallest of them join the buckets. So a package more, less or of another version
    changes the layer that holds it and, in an environment without room, the one bucket that a
    wheel at the border leaves or joins.

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
    large = sorted(
        (wheel for wheel in wheels if wheel.size_bytes >= ALONE_BYTES),
        key=lambda wheel: (-wheel.size_bytes, *_id(wheel)),
    )
    alone = [Group(None, (wheel,)) for wheel in large[:room]]
    tail = [wheel for wheel in wheels if wheel.size_bytes < ALONE_BYTES] + large[room:]
    buckets: dict[int, list[LockedWheel]] = defaultdict(list)
    for wheel in tail:
        buckets[bucket_of(wheel.name)].append(wheel)
    return alone + [
        Group(number, tuple(sorted(buckets[number], key=_id))) for number in sorted(buckets)
    ]


def _id(wheel: LockedWheel) -> tuple[str, str]:
    return wheel.name, wheel.sha256


def bucket_of(name: str) -> int:
    """The bucket of a normalised package name, 0 to BUCKETS - 1."""
    return hashlib.sha256(name.encode()).digest()[0] % BUCKETS
