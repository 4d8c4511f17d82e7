"""What the workers counted, as metrics; every replica of the API tells the same of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from api.queue import Queue
from worker.tally import INFINITE, KINDS, SUM, Counts, Kind

_CACHED_S = 5.0


class Tallied(Collector):
    """The workers' counters and histograms, asked at most every few seconds."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._found: Mapping[str, Mapping[tuple[str, ...], Counts]] = {}

    def describe(self) -> Iterable[Metric]:
        return [_family(name, kind) for name, kind in KINDS.items()]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at > _CACHED_S:
                self._found = self._queue.tallies()
                self._asked_at = time.monotonic()
            found = self._found
        families = []
        for name, kind in KINDS.items():
            family = _family(name, kind)
            for labels, counts in found.get(name, {}).items():
                if isinstance(family, HistogramMetricFamily):
                    family.add_metric(labels, _summed(kind, counts), counts.get(SUM, 0.0))
                else:
                    family.add_metric(labels, counts.get("", 0.0))
            families.append(family)
        return families


def _family(name: str, kind: Kind) -> HistogramMetricFamily | CounterMetricFamily:
    if kind.buckets:
        return HistogramMetricFamily(name, kind.told, labels=kind.labels)
    return CounterMetricFamily(name, kind.told, labels=kind.labels)


def _summed(kind: Kind, counts: Counts) -> list[tuple[str, float]]:
    """Buckets as Prometheus has them: each with all that is below its end."""
    total, buckets = 0.0, []
    for end in (*map(str, kind.buckets), INFINITE):
        total += counts.get(end, 0.0)
        buckets.append((end, total))
    return buckets
