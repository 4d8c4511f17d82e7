"""What is counted, and the registry that it is read from."""

from __future__ import annotations

import threading
import time
from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from api.metrics.tallied import Tallied
from api.queue import Queue
from catalog.build_models import ENGINE, Build
from catalog.engine import reading
from catalog.states import BuildState

_CACHED_S = 5.0
_KINDS = frozenset({"docker", "buildkit", "podman"})
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """The metrics of one app; each app has a registry of its own."""

    def __init__(self, engine: Engine, queue: Queue) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(Tallied(queue))
        self.requests = Counter(
            "kitbag_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "kitbag_http_request_seconds",
            "Time until the first byte of the answer.",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.followers = Gauge(
            "kitbag_event_followers", "Open event streams.", registry=self.registry
        )
        self.admissions = Counter(
            "kitbag_admissions",
            "Objects that API servers asked about, by what was decided.",
            ("webhook", "result"),
            registry=self.registry,
        )
        self.refusals = Counter(
            "kitbag_quota_refusals",
            "Builds that were refused, by the limit that they ran into.",
            ("limit",),
            registry=self.registry,
        )
        self.limited = Counter(
            "kitbag_rate_limited",
            "Requests that were refused because they were too many, by whose they were.",
            ("by",),
            registry=self.registry,
        )
        self.unchecked = Counter(
            "kitbag_rate_unchecked",
            "Requests that were let pass uncounted because Redis did not answer.",
            registry=self.registry,
        )
        self.unaudited = Counter(
            "kitbag_audit_lost",
            "Lines of the audit log that the catalog did not take; the log has them.",
            registry=self.registry,
        )
        self.registry.register(_Builds(engine))
        self.registry.register(_Messages(queue))
        self.registry.register(_Engines(queue))


class _Messages(Collector):
    """Messages that wait for workers, by queue, asked at most every few seconds.

    There is no sample while the queue does not answer: 0 would let workers be taken away.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._counts: Mapping[str, int] = {}

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at > _CACHED_S:
                self._counts = self._queue.queue_messages()
                self._asked_at = time.monotonic()
            family = self._family()
            for queue, count in self._counts.items():
                family.add_metric([queue], count)
            return [family]

    def _family(self) -> GaugeMetricFamily:
        told = "Messages that wait for a worker."
        return GaugeMetricFamily("kitbag_queue_messages", told, labels=["queue"])


class _Engines(Collector):
    """The workers' container engines, by kind and whether they answer, asked every few seconds."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._counts: Counts[tuple[str, str]] = Counts()

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at > _CACHED_S:
                self._counts = Counts(
                    (each.engine, "down" if each.engine_problem else "up")
                    for each in self._queue.workers()
                    if each.engine in _KINDS and ENGINE in each.queues
                )
                self._asked_at = time.monotonic()
            family = self._family()
            for kind in sorted({kind for kind, _ in self._counts}):
                for state in ("up", "down"):
                    family.add_metric([kind, state], self._counts[kind, state])
            return [family]

    def _family(self) -> GaugeMetricFamily:
        told = "Workers with a container engine, by whether it answers."
        return GaugeMetricFamily("kitbag_engines", told, labels=["kind", "state"])


class _Builds(Collector):
    """Builds by state out of the catalog, asked at most every few seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._counts: dict[BuildState, int] = {}

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            if time.monotonic() - self._asked_at > _CACHED_S:
                self._ask()
            family = self._family()
            for state in BuildState:
                family.add_metric([state], self._counts.get(state, 0))
            return [family]

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily("kitbag_builds", "Builds by state.", labels=["state"])

    def _ask(self) -> None:
        try:
            with reading(self._engine) as session:
                rows = session.execute(select(Build.state, func.count()).group_by(Build.state))
                self._counts = {row[0]: row[1] for row in rows}
        except SQLAlchemyError:
            # The other metrics still tell something; /readyz tells that the catalog is gone.
            self._counts = {}
        self._asked_at = time.monotonic()
