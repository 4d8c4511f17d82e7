"""What all workers together count of their builds, kept in Redis, from where the API tells it.

A worker's processes come and go, and no scraper finds them; the counts stay. A Redis that lost them
begins at zero, as a counter may.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import redis

log = logging.getLogger(__name__)

_KEY = "kitbag:tally"
_SEPARATOR = "\x1f"
SUM = "sum"
INFINITE = "+Inf"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric: what it tells and its labels; a histogram has the upper ends of its buckets."""

    told: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


KINDS: Mapping[str, Kind] = {
    "kitbag_build_queue_seconds": Kind("How long builds waited.", ("lane",), _SECONDS),
    "kitbag_build_phase_seconds": Kind("How long phases took.", ("phase",), _SECONDS),
    "kitbag_builds_ended": Kind(
        "Builds that ended, and for those that failed the problem's slug.",
        ("way", "state", "reason"),
    ),
    "kitbag_build_bytes": Kind("Bytes that builds moved, by where to.", ("what",)),
    "kitbag_build_layers": Kind("Layers of images that were built, by who had them.", ("cache",)),
}

Counts = dict[str, float]


class Tally:
    """Counts of one build, sent at once."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, float] = defaultdict(float)

    def count(self, name: str, *labels: str, amount: float = 1) -> None:
        """Add to a counter."""
        self._counts[_field(name, labels)] += amount

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Add a value to a histogram: to its own bucket alone, they are summed up when read."""
        ends = KINDS[name].buckets
        place = bisect_left(ends, value)
        end = str(ends[place]) if place < len(ends) else INFINITE
        self._counts[_field(name, labels, end)] += 1
        self._counts[_field(name, labels, SUM)] += max(0.0, value)

    def send(self, url: str) -> None:
        """Add all of it to what is in Redis; a Redis that is away loses it, and nothing else."""
        try:
            with (
                redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as broker,
                broker.pipeline(transaction=True) as pipeline,
            ):
                for field, amount in self._counts.items():
                    pipeline.hincrbyfloat(_KEY, field, amount)
                pipeline.execute()
        except redis.RedisError as error:
            log.warning("a build is not counted: %s", type(error).__name__)
        self._counts.clear()


def read(broker: redis.Redis) -> dict[str, dict[tuple[str, ...], Counts]]:
    """By metric and its labels' values: buckets' ends and `sum`, or "" for a counter."""
    found: dict[str, dict[tuple[str, ...], Counts]] = {}
    for field, amount in broker.hgetall(_KEY).items():
        text = field.decode() if isinstance(field, bytes) else field
        name, *labels, end = text.split(_SEPARATOR)
        # A worker of another release may count what this one doesn't know.
        if name in KINDS and len(labels) == len(KINDS[name].labels):
            found.setdefault(name, {}).setdefault(tuple(labels), {})[end] = float(amount)
    return found


def _field(name: str, labels: tuple[str, ...], end: str = "") -> str:
    return _SEPARATOR.join((name, *labels, end))
