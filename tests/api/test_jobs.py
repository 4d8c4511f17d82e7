"""/v1/verifications and /v1/rebases: begun with 202, asked after by their id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .conftest import BASE_DIGEST, Site

Problem = Callable[..., dict[str, Any]]


def test_a_verification_is_of_the_version_that_the_name_means_now(site: Site) -> None:
    version = site.new_version()
    begun = site.http.post("/v1/verifications", json={"version": "alice/gan"})
    assert begun.status_code == 202, begun.text
    job = site.workers.jobs[begun.json()["id"]]
    assert job["arguments"] == {"version": f"alice/gan:{version.number}"}
    verdict = {
        "environment": "alice/gan",
        "version": 1,
        "compiler": "3.11.2",
        "equal": True,
        "stored": version.digest,
        "rebuilt": version.digest,
        "layers": [],
        "lost": ["sha256:0"],
        "images": [],
    }
    job |= {"state": "done", "result": verdict}
    answer = site.http.get(begun.headers["location"]).json()
    assert (answer["state"], answer["result"], answer["problem"]) == ("done", verdict, None)


def test_what_went_wrong_is_a_problem_with_its_type(site: Site) -> None:
    site.new_version()
    begun = site.http.post("/v1/verifications", json={"version": "alice/gan:1"})
    job = site.workers.jobs[begun.json()["id"]]
    job |= {"state": "failed", "problem": {"type": "not-verifiable", "detail": "It can't be."}}
    problem = site.http.get(begun.headers["location"]).json()["problem"]
    assert problem["type"].endswith("/not-verifiable") and problem["detail"] == "It can't be."


def test_a_rebase_names_bases_that_there_are(site: Site, problem: Problem) -> None:
    site.add_base("auto")
    asked = {"old": BASE_DIGEST, "new": "auto", "environments": "alice/*", "dry_run": True}
    begun = site.http.post("/v1/rebases", json=asked)
    assert begun.status_code == 202, begun.text
    assert site.workers.jobs[begun.json()["id"]]["arguments"] == asked
    assert site.http.get(begun.headers["location"]).json()["state"] == "queued"
    wrong = site.http.get(begun.headers["location"].replace("rebases", "verifications"))
    problem(wrong, 404, "job-not-found")
    nowhere = site.http.post("/v1/rebases", json={"old": "auto", "new": "nowhere"})
    problem(nowhere, 404, "base-not-found")


def test_what_is_no_request_is_refused(site: Site, problem: Problem) -> None:
    site.add_base("auto")
    for body in ({"environments": "../*"}, {"environments": "alice"}, {"more": 1}, {"old": ""}):
        answer = site.http.post("/v1/rebases", json={"old": "auto", "new": "auto"} | body)
        problem(answer, 422, "invalid-request")
    problem(
        site.http.post("/v1/verifications", json={"version": "a/b"}), 404, "environment-not-found"
    )
    problem(site.http.get("/v1/rebases/" + "0" * 32), 404, "job-not-found")
    site.workers.problem = {"type": "unavailable", "detail": "The queue does not answer."}
    answer = site.http.post("/v1/rebases", json={"old": "auto", "new": "auto"})
    problem(answer, 503, "unavailable")
