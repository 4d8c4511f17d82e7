"""What a service of real parts tells of a build: one trace, and lines of the log that find it."""

from __future__ import annotations

import json
import time
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

    asked = [line for line in lines(deployed, "api") if line.get("request") == "logged-1"]
    done, answered = asked
    assert (done["logger"], done["action"], done["user"]) == (
        "kitbag.audit",
        "create_build",
        "kitbag:local",
    )
    assert (answered["logger"], answered["route"], answered["status"]) == (
        "kitbag.access",
        "/v1/builds",
        202,
    )
    worked = [line for line in lines(deployed, "worker-1") if line.get("build") == build["id"]]
    assert worked[0]["message"] == f"build {build['id']} attempt 1 begins"
    assert {line["request"] for line in worked} == {"logged-1"}


def test_metrics_tell_of_waiting_phases_bytes_caches_and_reasons(deployed: Deployed) -> None:
    """After the two builds above, and one that can't be."""
    deployed.build("observed/counted", "one")
    failed = deployed.submit("observed/failed", "nosuchpackage").json()
    assert deployed.wait(failed["id"])["state"] == "failed"
    wanted = (
        'kitbag_build_queue_seconds_count{lane="layered"}',
        'kitbag_build_phase_seconds_sum{phase="resolving"}',
        'kitbag_build_bytes_total{what="store"}',
        'kitbag_build_layers_total{cache="miss"}',
        'kitbag_builds_ended_total{reason="",state="ready",way="layered"}',
        'kitbag_builds_ended_total{reason="unresolvable",state="failed",way=""}',
    )
    deadline = time.monotonic() + 60  # they are counted once the build has ended, and kept for 5 s
    while missing := [name for name in wanted if name not in deployed.http.get("/metrics").text]:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)


def test_the_status_has_the_worker_that_is_there(deployed: Deployed) -> None:
    told = deployed.get("/v1/status")
    assert told["ready"] is True
    (worker,) = told["workers"]
    assert worker["name"].endswith(f":{deployed.workers[0].pid}")
    assert worker["queues"] == ["layered", "plans"]
    assert (worker["engine"], worker["concurrency"]) == ("none", 2)
