"""Webhooks: what each forge sends, what is built of it, and what is refused."""

from __future__ import annotations

import itertools
import random
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from rig.forges import (
    REPOSITORY,
    ZERO,
    A,
    B,
    C,
    bitbucket_pull,
    bitbucket_push,
    bitbucket_tag,
    gitea_push,
    github_pull,
    github_push,
    github_tag,
    gitlab_merge,
    gitlab_push,
    gitlab_tag,
    send,
)

from api.hooks.keys import secret_of
from api.settings import ApiSettings
from catalog import environments
from catalog import hooks as catalog_hooks
from catalog.engine import reading, writing
from catalog.types import utcnow

Site = Any
KEY = "k" * 40


@pytest.fixture
def site(make_site: Callable[..., Any]) -> Site:
    site = make_site(hook_key=KEY)
    site.add_base()
    return site


def add(site: Site, forge: str = "github", **more: Any) -> dict[str, Any]:
    asked = {"forge": forge, "url": f"{REPOSITORY}.git"} | more
    made = site.http.post("/v1/environments/hep/gan/hooks", json=asked)
    assert made.status_code == 201, made.text
    return made.json()


def builds(site: Site) -> list[dict[str, Any]]:
    """Every build there is, the oldest first."""
    return site.http.get("/v1/builds").json()["items"][::-1]


def commits(site: Site) -> list[str]:
    return [build["request"]["source"]["git"]["ref"] for build in builds(site)]


def settle(site: Site) -> list[str]:
    """What a worker does when builds ended."""
    with writing(site.engine) as session:
        return catalog_hooks.settle(session)


def finish(site: Site, build_id: str, sha: str, digest: str = "d") -> None:
    branches = ["main"]
    site.workers.build(build_id, commit=sha, branches=branches, digest=f"sha256:{digest * 64}")
    settle(site)


PUSHES = [
    ("github", github_push(ZERO, A)),
    ("gitlab", gitlab_push(ZERO, A)),
    ("gitea", gitea_push(ZERO, A)),
    ("bitbucket", bitbucket_push((None, A))),
]


@pytest.mark.parametrize(("forge", "told"), PUSHES, ids=[forge for forge, _ in PUSHES])
def test_a_push_builds_its_commit(site: Site, forge: str, told: Any) -> None:
    hook = add(site, forge)
    answer = send(site.http, hook, told)
    assert answer.status_code == 202, answer.text
    [build] = builds(site)
    assert answer.json()["builds"] == [build["id"]]
    assert build["environment"] == "hep/gan"
    git = build["request"]["source"]["git"]
    assert (git["url"], git["ref"], git["branch"]) == (f"{REPOSITORY}.git", A, "main")
    site.workers.wait_told(build["id"])


@pytest.mark.parametrize(("forge", "told"), PUSHES, ids=[forge for forge, _ in PUSHES])
def test_an_unsigned_delivery_or_one_with_another_secret_is_refused(
    site: Site, problem: Callable[..., Any], forge: str, told: Any
) -> None:
    hook = add(site, forge)
    signature = {
        "github": "X-Hub-Signature-256",
        "gitlab": "X-Gitlab-Token",
        "gitea": "X-Gitea-Signature",
        "bitbucket": "X-Hub-Signature",
    }[forge]
    problem(send(site.http, hook, told, remove=[signature]), 401, "unauthorized")
    refused = problem(send(site.http, hook, told, secret="guessed"), 401, "unauthorized")
    assert hook["secret"] not in str(refused)
    assert builds(site) == []


def test_a_hook_takes_deliveries_of_its_own_forge_alone(
    site: Site, problem: Callable[..., Any]
) -> None:
    hook = add(site)
    elsewhere = hook | {"path": hook["path"].replace("github", "gitlab"), "forge": "gitlab"}
    problem(send(site.http, elsewhere, gitlab_push(ZERO, A)), 401, "unauthorized")
    unknown = hook | {"path": "/v1/hooks/github?hook=nobody"}
    problem(send(site.http, unknown, github_push(ZERO, A)), 404, "hook-not-found")


def test_the_same_delivery_again_is_answered_and_builds_nothing(site: Site) -> None:
    hook = add(site)
    first = send(site.http, hook, github_push(ZERO, A), delivery="one").json()
    again = send(site.http, hook, github_push(ZERO, A), delivery="one").json()
    replayed = send(site.http, hook, github_push(ZERO, A), delivery="two").json()
    assert again["duplicate"] and again["builds"] == first["builds"]
    assert replayed["builds"] == []
    assert len(builds(site)) == 1


def test_a_delivery_that_comes_twenty_times_at_once_builds_once(site: Site) -> None:
    hook = add(site)
    codes: list[int] = []

    def deliver() -> None:
        with httpx.Client(base_url=site.url, timeout=30) as http:
            codes.append(send(http, hook, github_push(ZERO, A), delivery="same").status_code)

    threads = [threading.Thread(target=deliver) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [202] * 20
    assert len(builds(site)) == 1


def test_pushes_while_a_branch_is_built_build_its_newest_commit_next(site: Site) -> None:
    hook = add(site)
    send(site.http, hook, github_push(ZERO, A))
    send(site.http, hook, github_push(A, B))
    send(site.http, hook, github_push(B, C))
    assert commits(site) == [A]
    site.workers.build(builds(site)[0]["id"], commit=A)
    [begun] = settle(site)
    assert commits(site) == [A, C]
    assert builds(site)[1]["id"] == begun
    finish(site, begun, C)
    assert settle(site) == []


def test_two_pushes_that_come_in_the_wrong_order_end_at_the_later_one(site: Site) -> None:
    hook = add(site)
    send(site.http, hook, github_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A, "1")
    send(site.http, hook, github_push(B, C))
    late = send(site.http, hook, github_push(A, B)).json()
    assert "later push" in late["told"][0]
    finish(site, builds(site)[1]["id"], C, "2")
    assert commits(site) == [A, C]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_in_whatever_order_the_branch_ends_at_its_last_commit(
    site: Site, seed: int
) -> None:
    chance = random.Random(seed)
    hook = add(site)
    shas = [ZERO] + [f"{number:040x}" for number in range(1, 9)]
    moves = list(itertools.pairwise(shas))
    near = sorted(range(len(moves)), key=lambda index: index + chance.uniform(0, 1.9))
    for index in near:
        send(site.http, hook, github_push(*moves[index]))
        if chance.random() < 0.5:
            for build in builds(site):
                if build["state"] == "queued":
                    sha = build["request"]["source"]["git"]["ref"]
                    finish(site, build["id"], sha, sha[-1])
    for _ in range(10):
        for build in builds(site):
            if build["state"] == "queued":
                sha = build["request"]["source"]["git"]["ref"]
                finish(site, build["id"], sha, sha[-1])
    latest = site.http.get("/v1/environments/hep/gan/versions/latest").json()
    assert latest["commit"] == shas[-1]


def test_a_push_that_changes_nothing_that_matters_moves_the_commits_name(site: Site) -> None:
    hook = add(site)
    send(site.http, hook, github_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A)
    answer = send(site.http, hook, github_push(A, B, "README.md", "src/model.py")).json()
    assert "hep/gan:1 stays" in answer["told"][0]
    assert len(builds(site)) == 1
    resolved = site.http.get("/v1/resolve", params={"env": f"hep/gan:{B}"}).json()
    assert resolved["version"] == 1
    send(site.http, hook, github_push(B, C, "requirements/base.txt"))
    assert commits(site) == [A, C]


@pytest.mark.parametrize(
    "told",
    [
        github_push(A, B, "README.md", forced=True),
        github_push(A, B, "README.md", commits=None),
        github_push(A, B, commits=[{"id": B, "modified": ["README.md"]}] * 2048),
    ],
    ids=["forced", "no list", "as many as are listed at most"],
)
def test_who_does_not_know_what_changed_builds(site: Site, told: Any) -> None:
    hook = add(site)
    send(site.http, hook, github_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A)
    send(site.http, hook, told)
    assert commits(site) == [A, B]


def test_a_list_of_some_commits_only_is_not_all_that_changed(site: Site) -> None:
    hook = add(site, "gitlab")
    send(site.http, hook, gitlab_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A)
    send(site.http, hook, gitlab_push(A, B, "README.md", total=21))
    assert commits(site) == [A, B]


def test_branches_build_the_environments_of_their_rules(site: Site) -> None:
    rules = [
        {"pattern": "main"},
        {"pattern": "release/*", "environment": "hep/gan-{branch}"},
    ]
    hook = add(site, branches=rules)
    send(site.http, hook, github_push(ZERO, A, branch="release/1.0"))
    assert [build["environment"] for build in builds(site)] == ["hep/gan-release-1-0"]
    ignored = send(site.http, hook, github_push(ZERO, B, branch="topic")).json()
    assert "No rule" in ignored["told"][0] and len(builds(site)) == 1


def test_a_deleted_branch_loses_its_name_and_its_build(site: Site) -> None:
    hook = add(site)
    send(site.http, hook, github_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A)
    assert site.http.get("/v1/resolve?env=hep/gan:main").status_code == 200
    send(site.http, hook, github_push(A, B))
    send(site.http, hook, github_push(B, ZERO))
    assert builds(site)[1]["state"] == "cancelled"
    assert site.http.get("/v1/resolve?env=hep/gan:main").status_code == 404
    assert site.http.get("/v1/resolve?env=hep/gan:1").status_code == 200


@pytest.mark.parametrize(
    ("forge", "pull", "fork", "closed"),
    [
        ("github", github_pull(12, B), github_pull(12, B, fork=True), github_pull(12, B, "closed")),
        (
            "gitlab",
            gitlab_merge(12, B),
            gitlab_merge(12, B, source=9),
            gitlab_merge(12, B, "merge"),
        ),
        (
            "bitbucket",
            bitbucket_pull(12, B[:12]),
            bitbucket_pull(12, B[:12], source="mallory/gan"),
            bitbucket_pull(12, B[:12], name="fulfilled"),
        ),
    ],
    ids=["github", "gitlab", "bitbucket"],
)
def test_pull_requests_build_environments_of_their_own_and_those_of_forks_none(
    site: Site, forge: str, pull: Any, fork: Any, closed: Any
) -> None:
    shy = add(site, forge)
    assert "no pull requests" in send(site.http, shy, pull).json()["told"][0]
    hook = add(site, forge, pulls=True)
    assert "fork" in send(site.http, hook, fork).json()["told"][0]
    assert builds(site) == []
    send(site.http, hook, pull)
    [build] = builds(site)
    assert build["environment"] == "hep/gan-pr-12"
    assert build["request"]["source"]["git"].get("branch") is None
    send(site.http, hook, closed)
    assert builds(site)[0]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("forge", "told"),
    [
        ("github", ("ping", {"zen": "Design for failure."})),
        ("github", ("issues", {"action": "opened"})),
        ("github", github_tag("v1", ZERO, A, A)),
        ("gitlab", gitlab_tag("v1", ZERO, A, A)),
        ("bitbucket", bitbucket_tag("v1", None, A)),
        ("bitbucket", ("diagnostics:ping", {"test": True})),
    ],
)
def test_what_is_nothing_to_build_is_taken_and_builds_nothing(
    site: Site, forge: str, told: Any
) -> None:
    answer = send(site.http, add(site, forge), told)
    assert answer.status_code == 202 and answer.json()["builds"] == []
    assert builds(site) == []


def version_of(site: Site, name: str) -> Any:
    answer = site.http.get("/v1/resolve", params={"env": name})
    return answer.json().get("version", answer.json().get("type", "").rpartition("/")[2])


@pytest.mark.parametrize(
    ("forge", "push", "come", "gone"),
    [
        ("github", github_push(ZERO, A), github_tag("v1.0", ZERO, B, A),
         github_tag("v1.0", B, ZERO)),
        ("gitlab", gitlab_push(ZERO, A), gitlab_tag("v1.0", ZERO, B, A),
         gitlab_tag("v1.0", B, ZERO)),
        ("gitea", gitea_push(ZERO, A), github_tag("v1.0", ZERO, A, A),
         github_tag("v1.0", A, ZERO)),
        ("bitbucket", bitbucket_push((None, A)), bitbucket_tag("v1.0", None, A),
         bitbucket_tag("v1.0", A, None)),
    ],
    ids=["github", "gitlab", "gitea", "bitbucket"],
)  # fmt: skip
def test_a_tag_is_a_name_of_its_commits_version_until_it_is_deleted(
    site: Site, forge: str, push: Any, come: Any, gone: Any
) -> None:
    hook = add(site, forge, tags=[{"pattern": "v*"}])
    send(site.http, hook, push)
    finish(site, builds(site)[0]["id"], A)
    told = send(site.http, hook, come).json()
    assert "v1.0 is hep/gan:1" in told["told"][0]
    assert version_of(site, "hep/gan:v1.0") == 1 and len(builds(site)) == 1
    send(site.http, hook, gone)
    assert version_of(site, "hep/gan:v1.0") == "version-not-found"
    assert version_of(site, "hep/gan:1") == 1


def test_a_tag_that_comes_with_its_branch_waits_for_that_build(site: Site) -> None:
    hook = add(site, tags=[{"pattern": "*"}])
    send(site.http, hook, github_push(ZERO, A))
    told = send(site.http, hook, github_tag("v1", ZERO, A, A)).json()
    assert "waits for the build of refs/heads/main" in told["told"][0]
    finish(site, builds(site)[0]["id"], A)
    assert version_of(site, "hep/gan:v1") == 1 and len(builds(site)) == 1


def test_a_tag_whose_branch_is_deleted_meanwhile_is_built_by_itself(site: Site) -> None:
    hook = add(site, tags=[{"pattern": "*"}])
    send(site.http, hook, github_push(ZERO, A))
    send(site.http, hook, github_tag("v1", ZERO, A, A))
    send(site.http, hook, github_push(A, ZERO))
    [begun] = settle(site)
    assert [build["state"] for build in builds(site)] == ["cancelled", "queued"]
    site.workers.build(begun, commit=A, branches=["v1"])
    settle(site)
    assert version_of(site, "hep/gan:v1") == 1


def test_a_tag_that_is_deleted_leaves_its_branchs_build_alone(site: Site) -> None:
    hook = add(site, tags=[{"pattern": "*"}])
    send(site.http, hook, github_push(ZERO, A))
    send(site.http, hook, github_tag("v1", ZERO, A, A))
    send(site.http, hook, github_tag("v1", A, ZERO))
    assert [build["state"] for build in builds(site)] == ["queued"]


def test_a_tag_of_a_commit_that_was_not_built_builds_what_its_rule_names(site: Site) -> None:
    rules = [{"pattern": "v*", "environment": "hep/gan-release"}]
    hook = add(site, tags=rules)
    ignored = send(site.http, hook, github_tag("nightly", ZERO, A, A)).json()
    assert "No rule is for the tag nightly" in ignored["told"][0]
    send(site.http, hook, github_tag("v1", ZERO, A, A))
    [build] = builds(site)
    assert build["environment"] == "hep/gan-release"
    site.workers.build(build["id"], commit=A, branches=["v1"])
    settle(site)
    send(site.http, hook, github_tag("v1", A, B, B))
    site.workers.build(builds(site)[1]["id"], commit=B, branches=["v1"])
    settle(site)
    assert version_of(site, "hep/gan-release:v1") == 2


def test_a_commit_that_moved_no_version_can_be_tagged_too(site: Site) -> None:
    hook = add(site, tags=[{"pattern": "*"}])
    send(site.http, hook, github_push(ZERO, A))
    finish(site, builds(site)[0]["id"], A)
    send(site.http, hook, github_push(A, B, "README.md"))
    send(site.http, hook, github_tag("v1", ZERO, B, B))
    assert version_of(site, "hep/gan:v1") == 1 and len(builds(site)) == 1


def test_a_closed_pull_requests_environment_stands_for_nothing(site: Site) -> None:
    hook = add(site, pulls=True)
    send(site.http, hook, github_pull(12, B))
    site.workers.build(builds(site)[0]["id"], commit=B)
    settle(site)
    assert version_of(site, "hep/gan-pr-12") == 1
    shown = site.http.get("/v1/environments/hep/gan-pr-12").json()
    assert shown["expires_at"] is not None and not shown["expired"]
    send(site.http, hook, github_pull(12, B, "closed"))
    assert version_of(site, "hep/gan-pr-12") == "environment-expired"
    assert version_of(site, "hep/gan-pr-12:1") == "environment-expired"
    asked = {"text": "image: kitbag://hep/gan-pr-12\n", "environment": "hep/gan-pr-12"}
    assert site.http.post("/v1/pins", json=asked).status_code == 410
    assert site.http.get("/v1/environments/hep/gan-pr-12").json()["expired"]
    send(site.http, hook, github_pull(12, C, "reopened"))
    assert version_of(site, "hep/gan-pr-12") == 1
    assert not site.http.get("/v1/environments/hep/gan-pr-12").json()["expired"]


def test_an_environment_that_expired_is_never_kept_in_an_answer(site: Site) -> None:
    hook = add(site, pulls=True)
    send(site.http, hook, github_pull(12, B))
    site.workers.build(builds(site)[0]["id"], commit=B)
    settle(site)
    for _ in range(3):
        assert version_of(site, "hep/gan-pr-12") == 1
    with writing(site.engine) as session:
        environments.get(session, "hep/gan-pr-12").expires_at = utcnow() - timedelta(seconds=1)
    with writing(site.engine) as session:
        assert environments.expire_due(session) == ["hep/gan-pr-12"]
        assert environments.expire_due(session) == []
    assert version_of(site, "hep/gan-pr-12") == "environment-expired"
    with writing(site.engine) as session:
        assert [one.full_name for one in environments.expired(session)] == ["hep/gan-pr-12"]


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("{path}x", "X-Hub-Signature-256: sha256=" + "0" * 64, 404),
        ("{path}", "X-Other: 1", 401),
        ("{path}", "X-Hub-Signature-256: sha256=short", 401),
    ],
    ids=["unknown webhook", "no signature", "no whole signature"],
)
def test_what_can_not_be_taken_is_refused_before_its_body_comes(
    site: Site, path: str, header: str, status: int
) -> None:
    hook = add(site)
    host, _, port = site.url.partition("://")[2].partition(":")
    asked = f"POST {path.format(path=hook['path'])} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(f"{asked}{header}\r\nContent-Length: 20000000\r\n\r\n".encode())
        answer = line.recv(65536)
    assert answer.split()[1] == str(status).encode()


def test_another_repository_than_the_rules_is_refused(
    site: Site, problem: Callable[..., Any]
) -> None:
    hook = add(site)
    told = github_push(ZERO, A, url="https://git.example/mallory/gan")
    problem(send(site.http, hook, told), 403, "forbidden")
    assert builds(site) == []


def test_several_branches_of_one_push_are_all_built(site: Site) -> None:
    hook = add(site, "bitbucket", branches=[{"pattern": "*", "environment": "hep/gan-{branch}"}])
    name, payload = bitbucket_push((None, A), (None, B))
    payload["push"]["changes"][1]["new"]["name"] = "topic"
    answer = send(site.http, hook, (name, payload)).json()
    assert len(answer["builds"]) == 2
    assert {build["environment"] for build in builds(site)} == {"hep/gan-main", "hep/gan-topic"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"ref": "refs/heads/main"}',
        b'{"ref": 7, "before": [], "after": {}, "repository": null}',
    ],
)
def test_a_body_that_is_no_payload_is_one_sentence(
    site: Site, problem: Callable[..., Any], body: bytes
) -> None:
    problem(send(site.http, add(site), ("push", body)), 400, "invalid-request")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ref": "refs/heads/" + "x" * 10_000},
        {"ref": "main"},
        {"after": "not-a-commit"},
        {"after": "A" * 41},
    ],
)
def test_a_ref_or_a_commit_that_can_not_be_is_refused(
    site: Site, problem: Callable[..., Any], wrong: dict[str, str]
) -> None:
    name, payload = github_push(ZERO, A)
    problem(send(site.http, add(site), (name, payload | wrong)), 400, "invalid-request")
    assert builds(site) == []


def test_a_payload_of_a_million_commits_is_taken_and_more_bytes_than_allowed_are_not(
    make_site: Callable[..., Any], problem: Callable[..., Any]
) -> None:
    site = make_site(hook_key=KEY, max_hook_bytes=5_000_000)
    site.add_base()
    hook = add(site)
    name, payload = github_push(ZERO, A)
    answer = send(site.http, hook, (name, payload | {"commits": [{}] * 1_000_000}))
    assert answer.status_code == 202 and len(builds(site)) == 1
    problem(send(site.http, hook, (name, b" " * 5_000_001)), 413, "too-large")


def test_a_hook_is_listed_without_its_secret_shown_with_it_and_renewed(site: Site) -> None:
    made = add(site, pulls=True)
    path = "/v1/environments/hep/gan/hooks"
    [listed] = site.http.get(path).json()["items"]
    assert listed["id"] == made["id"] and "secret" not in listed
    assert site.http.get(f"{path}/{made['id']}").json()["secret"] == made["secret"]
    renewed = site.http.post(f"{path}/{made['id']}/renew").json()
    assert renewed["secret"] != made["secret"]
    assert send(site.http, made, github_push(ZERO, A)).status_code == 401
    assert send(site.http, renewed, github_push(ZERO, A)).status_code == 202
    assert site.http.delete(f"{path}/{made['id']}").json()["id"] == made["id"]
    assert site.http.get(path).json()["items"] == []


def test_two_hooks_have_two_secrets(site: Site) -> None:
    assert add(site)["secret"] != add(site)["secret"]


def test_an_environment_does_not_show_the_hook_of_another(
    site: Site, problem: Callable[..., Any]
) -> None:
    hook = add(site)
    site.ask(environment="alice/other")
    problem(
        site.http.get(f"/v1/environments/alice/other/hooks/{hook['id']}"), 404, "hook-not-found"
    )


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"url": "not a url"}, "git URL"),
        ({"url": "https://user:password@git.example/a/b"}, "credentials"),
        ({"url": "ext::sh -c id:x"}, "git URL"),
        ({"branches": [{"pattern": "main", "environment": "No Name"}]}, "lower-case"),
        ({"subdir": "../up"}, "inside"),
        ({"tags": [{"pattern": "v*", "environment": "{tag}/gan"}]}, "namespace"),
        ({"tags": [{"pattern": "v*", "environment": "No Name"}]}, "lower-case"),
        ({"options": {"python": "three"}}, "minor version"),
        ({"status_secret": "../etc"}, "pattern"),
        ({"forge": "sourceforge"}, "forge"),
    ],
)
def test_a_rule_that_could_build_nothing_is_refused(
    site: Site, asked: dict[str, Any], told: str
) -> None:
    whole = {"forge": "github", "url": REPOSITORY} | asked
    refused = site.http.post("/v1/environments/hep/gan/hooks", json=whole)
    assert refused.status_code == 422, refused.text
    assert told in refused.json()["detail"]


def test_a_server_without_a_key_says_so(
    make_site: Callable[..., Any], problem: Callable[..., Any]
) -> None:
    site = make_site()
    asked = {"forge": "github", "url": REPOSITORY}
    refused = site.http.post("/v1/environments/hep/gan/hooks", json=asked)
    assert "KITBAG_HOOK_KEY" in problem(refused, 503, "unavailable")["detail"]
    assert site.http.get("/v1/environments/hep/gan").status_code == 404


def test_deliveries_need_no_token_and_rules_do(make_site: Callable[..., Any]) -> None:
    site = make_site(hook_key=KEY, api_token="secret token")
    site.add_base()
    asked = {"forge": "github", "url": REPOSITORY}
    assert site.http.post("/v1/environments/hep/gan/hooks", json=asked).status_code == 401
    signed_in = {"Authorization": "Bearer secret token"}
    made = site.http.post("/v1/environments/hep/gan/hooks", json=asked, headers=signed_in)
    assert send(site.http, made.json(), github_push(ZERO, A)).status_code == 202


def test_after_a_change_of_key_both_secrets_are_taken_and_no_third(
    make_site: Callable[..., Any], problem: Callable[..., Any]
) -> None:
    site = make_site(hook_key="n" * 40, hook_key_before=KEY)
    site.add_base()
    hook = add(site)

    def by(key: str) -> str:
        settings = ApiSettings(database_url="sqlite:///x", data=Path(), hook_key=SecretStr(key))
        with reading(site.engine) as session:
            return secret_of(settings, catalog_hooks.get(session, hook["id"]))

    assert hook["secret"] == by("n" * 40)
    assert send(site.http, hook, github_push(ZERO, A), secret=by(KEY)).status_code == 202
    assert send(site.http, hook, github_push(A, B)).status_code == 202
    refused = send(site.http, hook, github_push(B, C), secret=by("x" * 40))
    problem(refused, 401, "unauthorized")
