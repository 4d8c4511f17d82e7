"""A receiver of OpenTelemetry's traces: OTLP over HTTP, in protobuf, as a collector takes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from rig.http import QuietHandler, serve

PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span as it came; ids in hexadecimal, `parent` empty for the first of a trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


class OtlpReceiver:
    """Keeps every span that is sent to `endpoint`."""

    def __init__(self, port: int, spans: list[ReceivedSpan]) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._spans = spans

    def trace(self, trace: str) -> list[ReceivedSpan]:
        """The spans of a trace that have come by now."""
        return [span for span in list(self._spans) if span.trace == trace]

    def wait(
        self, trace: str, enough: Callable[[Sequence[ReceivedSpan]], bool], timeout_s: float = 90
    ) -> list[ReceivedSpan]:
        """The spans of a trace once they are enough."""
        deadline = time.monotonic() + timeout_s
        while not enough(found := self.trace(trace)):
            assert time.monotonic() < deadline, sorted(span.name for span in found)
            time.sleep(0.05)
        return found


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Receive until the end of the block."""
    spans: list[ReceivedSpan] = []
    lock = threading.Lock()

    class Handler(QuietHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path != "/v1/traces" or self.headers["content-type"] != PROTOBUF:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            received = _decoded(body)
            with lock:
                spans.extend(received)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(HTTPStatus.OK)
            self.send_header("content-type", PROTOBUF)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with serve(Handler) as port:
        yield OtlpReceiver(port, spans)


def _decoded(body: bytes) -> list[ReceivedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        ReceivedSpan(
            service=_texts(group.resource.attributes)["service.name"],
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            attributes=_texts(span.attributes),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _texts(attributes: Any) -> dict[str, str]:
    return {
        each.key: str(getattr(each.value, each.value.WhichOneof("value"))) for each in attributes
    }
