"""What a service of real parts tells of a build: one trace, and lines of the log that find it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.servers import Deployed
from rig.otlp import OtlpReceiver, ReceivedSpan

TRACE, CALLER = "11223344556677889900aabbccddeeff", "0102030405060708"


def lines(server: Deployed, part: str) -> list[dict[str, Any]]:
    """The log of a part; each line must be JSON, the last one may be half written."""
    text = Path(f"{server.data}-{part}.log").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def ancestors(span: ReceivedSpan, spans: list[ReceivedSpan]) -> list[str]:
    """The names of what a span is below, the nearest first; the last one's parent is elsewhere."""
    by_id = {each.id: each for each in spans}
    found = []
    while (above := by_id.get(span.parent)) is not None:
        found.append(above.name)
        span = above
    return found


def test_a_request_is_one_trace_from_the_api_over_the_queue_and_the_worker_to_the_registry(
    deployed: Deployed, otlp: OtlpReceiver
) -> None:
    answer = deployed.http.post(
        "/v1/builds",
        json={
            "environment": "observed/traced",
            "source": {"files": {"requirements.txt": "one"}},
        },
        headers={"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "traced-1"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.headers["X-Request-ID"] == "traced-1"
    build = deployed.wait(answer.json()["id"])
    assert build["state"] == "ready", build
    wanted = {"POST /v1/builds", "queue", "build", "resolving", "pushing", "registry put_manifest"}
    spans = otlp.wait(TRACE, lambda found: wanted <= {span.name for span in found})

    first = next(span for span in spans if span.name == "POST /v1/builds")
    assert (first.parent, first.service) == (CALLER, "kitbag-api")
    assert first.attributes["kitbag.request"] == "traced-1"
    assert first.attributes["http.response.status_code"] == "202"
    pushed = next(span for span in spans if span.name == "registry put_manifest")
    assert pushed.service == "kitbag-worker"
    assert ancestors(pushed, spans) == ["build", "POST /v1/builds"]
    worked = next(span for span in spans if span.name == "build")
    assert worked.attributes["kitbag.build"] == build["id"]


def test_lines_of_every_part_name_the_request_and_the_build(deployed: Deployed) -> None:
    request = {"environment": "observed/logged", "source": {"files": {"requirements.txt": "one"}}}
    answer = deployed.http.post("/v1/builds", json=request, headers={"X-Request-ID": "logged-1"})
    build = deployed.wait(answer.json()["id"])

    (asked,) = [line for line in lines(deployed, "api") if line.get("request") == "logged-1"]
    assert (asked["route"], asked["status"], asked["logger"]) == (
        "/v1/builds",
        202,
        "kitbag.access",
    )
    worked = [line for line in lines(deployed, "worker-1") if line.get("build") == build["id"]]
    assert worked[0]["message"] == f"build {build['id']} attempt 1 begins"
    assert {line["request"] for line in worked} == {"logged-1"}
