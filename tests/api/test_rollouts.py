"""/v1/environments/{namespace}/{name}/rollouts."""

from __future__ import annotations

import pytest

PATH = "/v1/environments/alice/gan/rollouts"
OBJECTS = {"objects": [{"kind": "TFJob", "name": "gan"}]}


@pytest.fixture
def site(make_site):
    return make_site(cluster="in-cluster")


def test_a_rollout_is_registered_shown_and_removed(site):
    site.new_version()
    made = site.http.post(PATH, json=OBJECTS | {"clone": True})
    assert made.status_code == 201
    body = made.json()
    assert made.headers["Location"] == f"{PATH}/{body['id']}"
    assert (body["environment"], body["namespace"]) == ("alice/gan", "alice")
    assert (body["clone"], body["restart"], body["acts_as"]) == (True, False, None)
    assert (body["run"]["version"], body["run"]["state"]) == (1, "pending")
    assert site.http.get(made.headers["Location"]).json() == body
    assert site.http.get(PATH).json() == {"items": [body]}
    assert site.http.delete(made.headers["Location"]).status_code == 204
    assert site.http.get(PATH).json() == {"items": []}


def test_a_rollback_is_planned_like_any_version(site):
    site.new_version()
    site.http.post(PATH, json=OBJECTS)
    site.http.post("/v1/environments/alice/gan/rollback", json={"to": "1"})
    (one,) = site.http.get(PATH).json()["items"]
    assert (one["run"]["version"], one["run"]["state"]) == (2, "pending")


def test_the_newest_version_is_tried_again_on_demand(site):
    site.new_version()
    made = site.http.post(PATH, json=OBJECTS).json()
    told = site.http.post(f"{PATH}/{made['id']}/retry")
    assert told.status_code == 202
    assert (told.json()["run"]["version"], told.json()["run"]["state"]) == (1, "pending")


def test_an_environment_without_a_version_has_no_run_yet(site):
    site.ask()
    assert site.http.post(PATH, json={"selector": "app=gan"}).json()["run"] is None


@pytest.mark.parametrize(
    "selector", ["app=gan", "app==gan,tier!=web", "a/b in (c, d), !e", "x.org/y", "k notin (v)"]
)
def test_label_selectors_are_taken(site, selector):
    site.ask()
    assert site.http.post(PATH, json={"selector": selector}).status_code == 201


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        OBJECTS | {"selector": "a=b"},
        {"selector": "a=b&limit=1"},
        {"selector": "a=b\n"},
        {"selector": "a in b"},
        {"selector": "a=" + "b" * 1000},
        {"objects": [{"kind": "tfjob", "name": "gan"}]},
        {"objects": [{"kind": "TFJob", "name": "../x"}]},
        {"objects": [{"kind": "TFJob", "name": "gan", "uid": "1"}]},
        {"objects": [{"kind": "TFJob", "name": "gan"}] * 201},
        OBJECTS | {"namespace": "a/b"},
        OBJECTS | {"namespace": "kube.system"},
        OBJECTS | {"container": ""},
        OBJECTS | {"colour": "red"},
    ],
    ids=lambda wrong: str(wrong)[:60],
)
def test_what_names_no_objects_is_refused(site, problem, wrong):
    site.ask()
    problem(site.http.post(PATH, json=wrong), 422, "invalid-request")


def test_what_is_not_there_is_said_to_be_missing(site, problem):
    problem(site.http.post(PATH, json=OBJECTS), 404, "environment-not-found")
    problem(site.http.get(PATH), 404, "environment-not-found")
    site.ask()
    problem(site.http.get(f"{PATH}/7"), 404, "rollout-not-found")
    problem(site.http.delete(f"{PATH}/7"), 404, "rollout-not-found")


def test_a_rollout_belongs_to_its_environment(site, problem):
    site.ask()
    site.ask(environment="bob/gan")
    made = site.http.post(PATH, json=OBJECTS).json()
    theirs = f"/v1/environments/bob/gan/rollouts/{made['id']}"
    problem(site.http.delete(theirs), 404, "rollout-not-found")


def test_without_a_cluster_a_rollout_is_refused_with_another_way(make_site, problem):
    site = make_site()
    site.ask()
    told = problem(site.http.post(PATH, json=OBJECTS), 422, "no-cluster")
    assert "kitbag rollout" in told["detail"]


GIT = {"url": "https://git.example/hep/deploy.git", "paths": ["deploy/", "app.yaml"]}


def test_a_rollout_to_a_repository_needs_no_cluster(make_site):
    site = make_site()
    site.new_version()
    asked = GIT | {"pull_request": True, "forge": "gitlab", "secret": "robot", "target": "gcp"}
    made = site.http.post(PATH, json={"git": asked})
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["git"] == asked | {"paths": ["deploy", "app.yaml"], "branch": "main"}
    assert (body["objects"], body["run"]["state"]) == ([], "pending")
    assert site.http.get(PATH).json()["items"] == [body]


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ({"paths": []}, 422, "paths"),
        ({"paths": ["../up"]}, 422, "inside"),
        ({"paths": ["/etc"]}, 422, "relative"),
        ({"url": "https://user:password@git.example/a/b"}, 422, "credentials"),
        ({"url": "ext::sh -c id:x"}, 422, "git URL"),
        ({"branch": "-f"}, 422, "branch"),
        ({"branch": "a..b"}, 422, "branch"),
        ({"branch": "x" * 10_000}, 422, "branch"),
        ({"branch": "main:refs/heads/other"}, 422, "branch"),
        ({"pull_request": True}, 422, "forge"),
        ({"pull_request": True, "forge": "github"}, 422, "secret"),
        ({"secret": "../etc"}, 422, "secret"),
        ({"colour": "red"}, 422, "colour"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_repository_that_can_not_be_meant_is_refused(make_site, more, status, told):
    site = make_site()
    site.ask()
    refused = site.http.post(PATH, json={"git": GIT | more})
    assert refused.status_code == status and told in refused.text


@pytest.mark.parametrize(
    "more", [OBJECTS, {"selector": "a=b"}, {"clone": True}, {"namespace": "hep"}], ids=str
)
def test_a_repository_and_a_clusters_options_exclude_each_other(site, problem, more):
    site.ask()
    problem(site.http.post(PATH, json={"git": GIT} | more), 422, "invalid-request")


def test_in_a_users_name_only_whom_the_proxy_names_is_acted_as(make_site, problem, tmp_path):
    grants = tmp_path / "grants.yaml"
    grants.write_text("grants: [{user: ana@example.org, namespaces: [alice], role: maintainer}]")
    site = make_site(
        cluster="in-cluster",
        cluster_acts_as="user",
        user_header="kubeflow-userid",
        trusted_proxies="127.0.0.1/32",
        grants=grants,
        api_token="operator",
    )
    operator = {"Authorization": "Bearer operator"}
    site.http.headers.update(operator)
    site.ask()
    problem(site.http.post(PATH, json=OBJECTS), 403, "forbidden")
    del site.http.headers["Authorization"]
    headers = {"kubeflow-userid": "ana@example.org"}
    made = site.http.post(PATH, json=OBJECTS, headers=headers)
    assert made.json()["acts_as"] == "ana@example.org"
