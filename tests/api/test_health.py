from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.problems.kinds import KINDS, Slug
from catalog import runs
from catalog.engine import writing
from catalog.types import utcnow
from worker.presence import Presence

ROOT = Path(__file__).parents[2]


# The server parses these, and refuses words that nobody registered.
_UNUSUAL = ("PROPFIND", "MKCOL", "REPORT", "PURGE", "LOCK")


def test_a_server_with_all_its_parts_is_ready(site):
    told = site.http.get("/readyz")
    assert told.status_code == 200
    assert told.json()["ready"] is True


@pytest.mark.parametrize(
    ("health", "part"),
    [({"broker": False, "workers": []}, "queue"), ({"broker": True, "workers": []}, "workers")],
)
def test_a_part_that_is_missing_is_named(site, health, part):
    site.workers.health = health
    told = site.http.get("/readyz")
    assert told.status_code == 503
    assert (told.json()["ready"], told.json()[part]["ok"]) == (False, False)
    assert told.json()[part]["detail"]
    assert told.json()["catalog"]["ok"] is True
    assert site.http.get("/healthz").status_code == 200


def test_a_catalog_that_was_not_migrated_is_not_ready(site):
    with site.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE namespaces RENAME TO gone")
    told = site.http.get("/readyz").json()
    assert told["catalog"]["ok"] is False


def metrics(site):
    text = site.http.get("/metrics").text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_requests_are_counted_by_the_template_of_their_route(site):
    build = site.ask()
    for _ in range(3):
        site.http.get(f"/v1/builds/{build['id']}")
    for number in range(50):
        site.http.get(f"/v1/nothing/{number}")
        site.http.request(_UNUSUAL[number % len(_UNUSUAL)], "/v1/builds")
        site.http.get(f"/v2/repo{number}/manifests/latest")
    counted = metrics(site)
    key = 'kitbag_http_requests_total{{method="{}",route="{}",status="{}"}}'
    assert counted[key.format("POST", "/v1/builds", 202)] == 1
    assert counted[key.format("GET", "/v1/builds/{build_id}", 200)] == 3
    assert counted[key.format("GET", "unmatched", 404)] == 50
    assert counted[key.format("OTHER", "/v1/builds", 405)] == 50
    assert counted[key.format("GET", "/v2/{repo:path}/manifests/{reference}", 404)] == 50
    requests = [name for name in counted if name.startswith("kitbag_http_requests_total")]
    assert len(requests) == 5


def test_builds_are_counted_by_state(site):
    site.ask("1")
    site.new_version("2")
    counted = metrics(site)
    assert counted['kitbag_builds{state="queued"}'] == 1
    assert counted['kitbag_builds{state="ready"}'] == 1
    assert counted['kitbag_builds{state="failed"}'] == 0


def test_messages_that_wait_are_told_by_queue(site):
    site.workers.wait_told(site.ask()["id"])
    assert metrics(site)['kitbag_queue_messages{queue="layered"}'] == 1


def test_a_queue_that_is_away_is_not_an_empty_one(site):
    site.workers.health = {"broker": False, "workers": []}
    assert not [name for name in metrics(site) if name.startswith("kitbag_queue_messages")]


def document(site):
    return site.http.get("/openapi.json").json()


def test_every_operation_is_named_described_and_declares_its_errors(site):
    names = []
    for path, operations in document(site)["paths"].items():
        for method, operation in operations.items():
            names.append(operation["operationId"])
            assert operation["description"].endswith("."), (path, method)
            if not path.startswith("/v1"):
                continue
            for status in ("401", "403", "422", "500"):
                content = operation["responses"][status]["content"]
                assert list(content) == ["application/problem+json"], (path, method, status)
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z][a-z_]+", name) for name in names)
    assert {"create_build", "follow_build", "cancel_build", "resolve", "pin"} <= set(names)


def test_every_reference_of_the_document_leads_somewhere(site):
    whole = document(site)
    found = set(re.findall(r"#/components/schemas/(\w+)", site.http.get("/openapi.json").text))
    assert found <= set(whole["components"]["schemas"])
    assert {"BuildRequest", "Problem"} <= found
    assert "HTTPValidationError" not in whole["components"]["schemas"]


def test_every_problem_is_documented_with_its_status():
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", text, re.MULTILINE))
    assert rows == {slug.value: str(kind.status) for slug, kind in KINDS.items()}
    assert set(KINDS) == set(Slug)


def test_every_error_of_the_builder_and_the_catalog_has_a_problem():
    from builder import errors as builder_errors
    from catalog import errors as catalog_errors

    for module in (builder_errors, catalog_errors):
        kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
        for kind in kinds:
            slug = getattr(kind, "type", None)
            assert slug is None or slug in set(Slug), kind


def presence(queues, engine, problem=""):
    now = utcnow()
    return Presence(
        name="host:1",
        release="1",
        queues=queues,
        concurrency=2,
        engine=engine,
        engine_problem=problem,
        started_at=now,
        seen_at=now,
    )


def test_the_status_lists_workers_engines_and_what_waits(site):
    site.workers.present = [presence(("layered", "plans"), "none")]
    site.ask("1")
    site.workers.begin(site.ask("2")["id"])
    told = site.http.get("/v1/status").json()
    assert (told["ready"], told["running"]) == (True, 1)
    assert [(lane["name"], lane["waiting"]) for lane in told["lanes"]] == [("layered", 1)]
    assert told["lanes"][0]["oldest_s"] >= 0
    (worker,) = told["workers"]
    assert (worker["name"], worker["engine"], worker["concurrency"]) == ("host:1", "none", 2)
    assert told["engines"]["ok"] is True


def test_builds_that_wait_for_an_engine_that_nobody_has_are_told(site):
    build_id = site.ask()["id"]
    site.workers.begin(build_id)
    with writing(site.engine) as session:
        runs.hand_on(session, build_id, attempt=1, way="binder")
    told = site.http.get("/v1/status").json()
    assert told["engines"]["ok"] is False
    assert told["engines"]["detail"].startswith("1 builds wait for a worker with a container")
    site.workers.present = [presence(("engine",), "buildkit")]
    assert site.http.get("/v1/status").json()["engines"]["ok"] is True


def test_what_workers_counted_is_told_with_its_buckets_summed_up(site):
    site.workers.tallied = {
        "kitbag_build_queue_seconds": {
            ("layered",): {"0.1": 2.0, "1.0": 1.0, "+Inf": 1.0, "sum": 5000.5}
        },
        "kitbag_builds_ended": {("layered", "failed", "no-wheel"): {"": 3.0}},
    }
    counted = metrics(site)
    bucket = 'kitbag_build_queue_seconds_bucket{{lane="layered",le="{}"}}'
    assert counted[bucket.format("0.05")] == 0
    assert counted[bucket.format("0.1")] == counted[bucket.format("0.5")] == 2
    assert counted[bucket.format("3600.0")] == 3
    assert counted[bucket.format("+Inf")] == 4
    assert counted['kitbag_build_queue_seconds_count{lane="layered"}'] == 4
    assert counted['kitbag_build_queue_seconds_sum{lane="layered"}'] == 5000.5
    ended = 'kitbag_builds_ended_total{reason="no-wheel",state="failed",way="layered"}'
    assert counted[ended] == 3


def test_an_engine_that_does_not_answer_is_told_and_counted(site):
    site.workers.present = [
        presence(("engine",), "docker", "The container engine does not answer."),
        presence(("engine",), "podman"),
    ]
    told = site.http.get("/v1/status").json()
    assert told["ready"] is True  # other builds are none the worse
    assert told["engines"] == {
        "ok": False,
        "detail": "host:1: The container engine does not answer.",
    }
    lines = site.http.get("/metrics").text.splitlines()
    assert 'kitbag_engines{kind="docker",state="down"} 1.0' in lines
    assert 'kitbag_engines{kind="docker",state="up"} 0.0' in lines
    assert 'kitbag_engines{kind="podman",state="up"} 1.0' in lines
