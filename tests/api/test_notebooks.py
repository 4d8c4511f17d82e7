"""Notebooks from the API and its pages: what the workers are told, in whose name, what is shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Site = Any
Problem = Callable[..., dict[str, Any]]
HTML = {"Accept": "text/html"}
IMAGE = "registry.example/alice/gan@sha256:" + "a" * 64
MADE = {
    "kind": "Notebook",
    "namespace": "alice",
    "name": "gan",
    "image": IMAGE,
    "say": "Notebook alice/gan is made on alice/gan:1",
    "path": "/notebook/alice/gan/",
}


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site(cluster="in-cluster", kubeflow_url="https://kubeflow.example")
    site.add_base()
    site.new_version()
    return site


def job_of(site: Site, response: Any) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    found: dict[str, Any] = site.workers.jobs[response.json()["id"]]
    return found


def test_a_launch_is_told_with_the_exact_version_and_answers_with_where_it_is(site: Site) -> None:
    begun = site.http.post(
        "/v1/launches",
        json={"version": "alice/gan", "home": "5Gi", "accelerator": "cuda", "accelerators": 2},
    )
    job = job_of(site, begun)
    assert (job["kind"], job["arguments"]) == (
        "launch",
        {
            "version": "alice/gan:1",
            "namespace": "alice",
            "name": "gan",
            "form": None,
            "home": "5Gi",
            "cpu": "",
            "memory": "",
            "accelerator": "cuda",
            "accelerators": 2,
            "pod_config": "",
            "acts_as": "",
        },
    )
    where = begun.headers["location"]
    assert site.http.get(where).json()["state"] == "queued"
    job |= {"state": "done", "result": MADE}
    result = site.http.get(where).json()["result"]
    assert result == MADE | {"url": "https://kubeflow.example/notebook/alice/gan/"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Gan"},
        {"name": "two words"},
        {"name": "../x"},
        {"name": "🐈"},
        {"name": "3dgan"},
        {"name": "a" * 53},
        {"namespace": "kube/system"},
        {"home": "much"},
        {"memory": "4 Gi"},
        {"accelerators": -1},
        {"accelerators": 1, "accelerator": "cpu"},
        {"accelerator": "abacus"},
        {"form": "Toaster"},
        {"version": "gan"},
        {"version": ""},
        {"more": 1},
    ],
    ids=str,
)
def test_what_can_be_no_notebook_is_refused_before_anybody_is_told(
    site: Site, problem: Problem, wrong: dict[str, Any]
) -> None:
    answer = site.http.post("/v1/launches", json={"version": "alice/gan"} | wrong)
    assert answer.status_code in (404, 422), answer.text
    assert site.workers.jobs == {}


def test_a_notebook_of_a_name_that_begins_with_a_digit_gets_one_that_fits(site: Site) -> None:
    site.workers.build(site.ask("numpy", "alice/3dgan")["id"])
    job = job_of(site, site.http.post("/v1/launches", json={"version": "alice/3dgan"}))
    assert job["arguments"]["name"] == "nb-3dgan"


def test_whoever_the_proxy_names_is_the_one_who_acts(
    make_site: Callable[..., Site], problem: Problem, tmp_path: Path
) -> None:
    grants = tmp_path / "grants.yaml"
    grants.write_text("grants: [{user: ana@example.org, namespaces: [alice], role: user}]")
    site = make_site(
        cluster="in-cluster",
        cluster_acts_as="user",
        user_header="kubeflow-userid",
        trusted_proxies="127.0.0.1/32",
        grants=grants,
        api_token="operator",
    )
    site.http.headers["Authorization"] = "Bearer operator"
    site.add_base()
    site.new_version()
    bodies = {
        "/v1/launches": {"version": "alice/gan"},
        "/v1/restarts": {"version": "alice/gan", "namespace": "alice", "name": "gan"},
        "/v1/uses": {"environment": "alice/gan"},
    }
    for path, body in bodies.items():
        problem(site.http.post(path, json=body), 403, "forbidden")
        ana = {"kubeflow-userid": "ana@example.org", "Authorization": ""}
        asked = site.http.post(path, json=body, headers=ana)
        assert job_of(site, asked)["arguments"]["acts_as"] == "ana@example.org"


def test_without_a_cluster_nothing_is_launched_restarted_or_looked_for(
    make_site: Callable[..., Site], problem: Problem
) -> None:
    site = make_site()
    site.add_base()
    site.new_version()
    for path, body in (
        ("/v1/launches", {"version": "alice/gan"}),
        ("/v1/restarts", {"version": "alice/gan", "namespace": "alice", "name": "gan"}),
        ("/v1/uses", {"environment": "alice/gan"}),
    ):
        problem(site.http.post(path, json=body), 422, "no-cluster")
    shown = site.http.get("/environments/alice/gan/versions/1", headers=HTML).text
    assert "Launch notebook" not in shown and "What runs it" not in shown


def test_what_is_not_there_is_not_launched(site: Site, problem: Problem) -> None:
    answer = site.http.post("/v1/launches", json={"version": "alice/gan:9"})
    problem(answer, 404, "version-not-found")
    problem(site.http.get(f"/v1/launches/{'0' * 32}"), 404, "job-not-found")


def test_a_restart_names_the_notebook_and_the_exact_version(site: Site) -> None:
    asked = {"version": "alice/gan:latest", "namespace": "alice", "name": "lab"}
    begun = site.http.post("/v1/restarts", json=asked)
    job = job_of(site, begun)
    assert job["arguments"] == asked | {"version": "alice/gan:1", "acts_as": ""}
    result = {
        "kind": "Notebook",
        "namespace": "alice",
        "name": "lab",
        "image": IMAGE,
        "state": "done",
        "say": "what runs in it begins again",
    }
    job |= {"state": "done", "result": result}
    assert site.http.get(begun.headers["location"]).json()["result"] == result


def test_the_form_launches_and_its_page_leads_to_the_notebook(site: Site) -> None:
    version = site.http.get("/environments/alice/gan/versions/1", headers=HTML).text
    where = re.search(r'href="(/environments/alice/gan/launch/1)"', version)
    assert where is not None
    form = site.http.get(where[1], headers=HTML).text
    assert 'name="name" value="gan"' in form and 'name="namespace" value="alice"' in form
    fields = {"name": "gan", "namespace": "alice", "home": " 5Gi ", "cpu": ""}
    begun = site.http.post(where[1], data=fields, headers=HTML)
    assert begun.status_code == 303
    shown = site.http.get(begun.headers["location"], headers=HTML).text
    assert "this page follows by itself" in shown and 'http-equiv="refresh"' in shown
    (job,) = site.workers.jobs.values()
    assert job["arguments"]["home"] == "5Gi"
    job |= {"state": "done", "result": MADE}
    shown = site.http.get(begun.headers["location"], headers=HTML).text
    assert 'href="https://kubeflow.example/notebook/alice/gan/"' in shown and "refresh" not in shown


@pytest.mark.parametrize("name", ["two words", "../x", "🐈", "<script>alert(1)</script>", ""])
def test_what_was_typed_wrong_is_said_above_the_form_and_kept(site: Site, name: str) -> None:
    fields = {"name": name, "namespace": "alice", "home": "<b>5</b>"}
    answer = site.http.post("/environments/alice/gan/launch/1", data=fields, headers=HTML)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text and "&lt;b&gt;5&lt;/b&gt;" in answer.text
    assert "<script>alert" not in answer.text and "<b>5" not in answer.text
    assert site.workers.jobs == {}


def test_why_the_cluster_did_not_do_it_is_a_sentence_on_the_page(site: Site) -> None:
    begun = site.http.post(
        "/environments/alice/gan/launch/1",
        data={"name": "gan", "namespace": "alice"},
        headers=HTML,
    )
    (job,) = site.workers.jobs.values()
    said = {"type": "cluster-refused", "detail": "There is a Notebook <i>alice/gan</i> already."}
    job |= {"state": "failed", "problem": said}
    shown = site.http.get(begun.headers["location"], headers=HTML).text
    assert "There is a Notebook &lt;i&gt;alice/gan&lt;/i&gt; already." in shown


def test_a_launch_link_leads_to_the_form_where_nobody_else_starts_notebooks(site: Site) -> None:
    sent = site.http.get("/v1/launch/env/alice/gan", headers=HTML)
    assert sent.headers["location"] == "/environments/alice/gan/launch/1"


def test_what_runs_an_environment_is_found_by_a_button_and_behind_is_said(site: Site) -> None:
    site.workers.build(site.ask("pandas")["id"], digest="sha256:" + "d" * 64)
    begun = site.http.post("/environments/alice/gan/uses", headers=HTML)
    assert begun.status_code == 303
    (job,) = site.workers.jobs.values()
    assert job["arguments"] == {"version": "alice/gan", "namespaces": ["alice"], "acts_as": ""}
    items = [
        {"kind": "Notebook", "namespace": "alice", "name": "lab", "versions": [1], "images": ["i"]},
        {"kind": "TFJob", "namespace": "alice", "name": "gan", "versions": [2], "images": ["i"]},
        {"kind": "Job", "namespace": "alice", "name": "x", "versions": [None], "images": ["i"]},
    ]
    job |= {"state": "done", "result": {"items": items, "unseen": ["alice: Pod: <denied>"]}}
    shown = site.http.get(begun.headers["location"], headers=HTML).text
    rows = [
        re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)).strip() for row in shown.split("<tr>")
    ]
    assert rows[2:5] == [
        "Notebook alice/lab 1 not the latest",
        "TFJob alice/gan 2",
        rows[4],
    ]
    assert rows[4].startswith("Job alice/x none")
    assert "alice: Pod: &lt;denied&gt;" in shown
