"""Traces as a collector gets them; and nothing at all while they are off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rig.otlp import OtlpReceiver

from telemetry import tracing

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, otlp: OtlpReceiver) -> Iterator[None]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint)
    tracing.start("kitbag-tests")
    yield
    tracing.stop()


def test_spans_arrive_below_their_parents(on: None, otlp: OtlpReceiver) -> None:
    moment = datetime.now(UTC)
    with tracing.span("outer", {"kitbag.build": "b1"}, parent=PARENT, kind="server"):
        assert tracing.headers()["traceparent"].startswith(f"00-{TRACE}-")
        assert tracing.ids()["trace"] == TRACE
        held = tracing.held()
        thread = threading.Thread(target=lambda: _inner(held))
        thread.start()
        thread.join()
        phase = tracing.begin("phase")
        assert phase is not None
        phase.end()
    tracing.passed("queue", {}, began=moment - timedelta(seconds=3), ended=moment, parent=PARENT)
    tracing.stop()
    names = {"outer", "inner", "phase", "queue"}  # a batch that is late is sent again
    found = otlp.wait(TRACE, lambda found: names <= {span.name for span in found})
    spans = {span.name: span for span in found}
    assert spans["outer"].parent == spans["queue"].parent == SPAN
    assert spans["inner"].parent == spans["phase"].parent == spans["outer"].id
    assert spans["outer"].attributes == {"kitbag.build": "b1"}
    assert {span.service for span in spans.values()} == {"kitbag-tests"}


def _inner(held: object) -> None:
    with tracing.span("inner", within=held):  # type: ignore[arg-type]
        pass


def test_nothing_is_traced_or_imported_while_they_are_off() -> None:
    code = (
        "import sys; from telemetry import logs, tracing; tracing.start('x');\n"
        "with tracing.span('a') as span: assert span is None\n"
        "assert tracing.headers() == tracing.ids() == {} and tracing.held() is None\n"
        "assert tracing.begin('b') is None and not tracing.is_on()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin"})


def test_the_standard_switch_turns_them_off(
    monkeypatch: pytest.MonkeyPatch, otlp: OtlpReceiver
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", otlp.endpoint)
    assert tracing.wanted()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing.wanted()
