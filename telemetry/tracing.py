"""Traces by OpenTelemetry, from a request to the registry; nothing is imported while they are off.

They are on where the standard variables say where they go: OTEL_EXPORTER_OTLP_ENDPOINT (or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT). The SDK reads the other standard variables itself: headers,
sampler, attributes of the resource. https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanKind, Tracer

log = logging.getLogger(__name__)

_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_provider: TracerProvider | None = None
_tracer: Tracer | None = None
Value = str | int | float | bool


def wanted() -> bool:
    """Whether the environment says where traces go."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return any(os.environ.get(name) for name in _VARIABLES)


def start(service: str) -> None:
    """Trace in this process, if that is wanted; after any fork, since it starts a thread."""
    global _provider, _tracer
    if _tracer is not None or not wanted():
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(
            "No traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for it are not "
            "installed; install kitbag-server[traces]."
        )
        return
    name = os.environ.get("OTEL_SERVICE_NAME", service)
    _provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("kitbag")


def stop() -> None:
    """Send what is not sent yet, and trace no more."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def is_on() -> bool:
    """Whether this process traces."""
    return _tracer is not None


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, Value] | None = None,
    *,
    parent: str | None = None,
    within: Context | None = None,
    kind: str = "internal",
) -> Iterator[Any]:
    """A span around the block, or nothing while traces are off; yields it, or None.

    Its parent is `parent` (a traceparent), else what is current in `within`, else in this thread.
    An exception that leaves the block is noted, and makes it a failure.
    """
    if _tracer is None:
        yield None
        return
    with _tracer.start_as_current_span(
        name,
        context=_context_of(parent) if parent else within,
        kind=_kind(kind),
        attributes=attributes,
    ) as made:
        yield made


def passed(
    name: str,
    attributes: Mapping[str, Value],
    *,
    began: datetime,
    ended: datetime,
    parent: str | None,
) -> None:
    """Tell of something that is over, such as the time that a build waited."""
    if _tracer is None or not parent:
        return
    made = _tracer.start_span(
        name,
        context=_context_of(parent),
        start_time=_nanoseconds(began),
        attributes=attributes,
    )
    made.end(_nanoseconds(max(began, ended)))


def begin(name: str) -> Span | None:
    """A span that `.end()` ends, below the current one; None while traces are off."""
    return None if _tracer is None else _tracer.start_span(name)


def held() -> Context | None:
    """What is current in this thread, for `within` in others; None while traces are off."""
    if _tracer is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


def headers() -> dict[str, str]:
    """`traceparent`, and `tracestate` where there is one, of the current span; none while off."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


def ids() -> dict[str, str]:
    """`trace` and `span` of the current span, in hexadecimal; none while traces are off."""
    if _tracer is None:
        return {}
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    found = get_current_span().get_span_context()
    if not found.is_valid:
        return {}
    return {"trace": format_trace_id(found.trace_id), "span": format_span_id(found.span_id)}


def _context_of(parent: str) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _kind(name: str) -> SpanKind:
    from opentelemetry.trace import SpanKind

    return SpanKind[name.upper()]


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000_000)
