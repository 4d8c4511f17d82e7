from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

ASKED = {"environment": "alice/gan", "source": {"files": {"requirements.txt": "numpy"}}}
PLAN = {
    "way": "layered",
    "why": "Only Python packages.",
    "files": ["requirements.txt"],
    "python": "3.11.2",
    "base": {"name": "auto", "image": "r/b@sha256:1", "digest": "sha256:1"},
    "cuda": {
        "version": "12.4",
        "cudnn": "9.1.0.70",
        "driver": "525.60.13",
        "affinity": {"matchExpressions": []},
    },
    "packages": [
        {"name": "numpy", "version": "2.1.0", "size_bytes": 10, "known": True},
        {"name": "scipy", "version": "1.0", "size_bytes": 20, "known": False},
    ],
    "layers": {"known": 1, "new": 1},
    "bytes_to_move": 20,
    "bytes_to_fetch": 30,
    "bytes_to_download": 20,
    "image_bytes": 1000,
    "images": [],
    "warnings": [],
}


def test_a_plan_is_what_the_worker_says_compared_with_the_latest_version(site):
    site.new_version("numpy")
    site.workers.plan = PLAN
    sizes = {"before_bytes": 900, "after_bytes": 10}

    response = site.http.post("/v1/plans", json=ASKED)

    assert response.status_code == 200
    assert response.json() == PLAN | {
        "added": [{"name": "scipy", "version": "1.0", "size_bytes": 20}],
        "removed": [],
        "changed": [{"name": "numpy", "before": "2.0.0", "after": "2.1.0"} | sizes],
    }
    assert site.workers.asked[-1]["environment"] == "alice/gan"
    assert site.http.get("/v1/builds").json()["items"][0]["state"] == "ready"


def test_a_plan_of_a_new_environment_makes_none(site):
    site.workers.plan = PLAN
    answer = site.http.post("/v1/plans", json=ASKED).json()
    assert [package["name"] for package in answer["added"]] == ["numpy", "scipy"]
    assert site.http.get("/v1/environments").json()["items"] == []


def test_what_the_worker_finds_wrong_is_the_answer(site, problem):
    site.workers.problem = {
        "type": "unresolvable",
        "detail": "numpy 99 does not exist.",
        "file": "requirements.txt",
        "line": 1,
    }
    told = problem(site.http.post("/v1/plans", json=ASKED), 422, "unresolvable")
    assert (told["detail"], told["file"], told["line"]) == (
        "numpy 99 does not exist.",
        "requirements.txt",
        1,
    )
    site.workers.problem = {"type": "https://kitbag.dev/problems/store-unreachable", "detail": "x."}
    problem(site.http.post("/v1/plans", json=ASKED), 502, "store-unreachable")


def test_workers_that_do_not_answer_are_given_up(make_site, problem):
    site = make_site(plan_timeout_s=0.2)
    site.workers.gate.clear()
    told = problem(site.http.post("/v1/plans", json=ASKED), 504, "unavailable")
    assert "0.2 seconds" in told["detail"]


def test_plans_that_wait_hold_up_nothing_else(make_site):
    site = make_site(plan_timeout_s=10, max_plans=2)
    site.workers.gate.clear()
    site.workers.plan = PLAN
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(site.http.post, "/v1/plans", json=ASKED) for _ in range(60)]
        try:
            assert site.http.get("/v1/builds", timeout=5).status_code == 200
        finally:
            site.workers.gate.set()
        assert {answer.result(20).status_code for answer in waiting} == {200}


@pytest.mark.parametrize("base", ["nothing", "no-such-base"])
def test_a_base_that_does_not_exist_needs_no_worker(site, problem, base):
    response = site.http.post("/v1/plans", json=ASKED | {"base": base})
    problem(response, 422, "base-not-found")
    assert site.workers.asked == []
