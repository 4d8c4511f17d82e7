from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, func, select

from catalog import bases, builds, versions
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.states import BuildState
from catalog.versions import ImageFacts

COMMIT = "c0ffee1" + "0" * 33


def git(ref=None, url="https://git.example/alice/3DGAN.git"):
    return {"source": {"git": {"url": url, "ref": ref}}}


def test_a_new_build_is_accepted_committed_and_told_to_the_queue(site):
    response = site.http.post(
        "/v1/builds",
        json={"environment": "alice/gan", "source": {"files": {"requirements.txt": "numpy"}}},
    )

    build = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/builds/{build['id']}"
    assert build["state"] == "queued"
    assert build["environment"] == "alice/gan"
    assert build["request"] == {
        "environment": "alice/gan",
        "source": {"files": {"requirements.txt": "numpy"}},
        "python": None,
        "base": "auto",
        "accelerator": "cpu",
        "upgrade": False,
        "platform": None,
    }
    assert build["created_at"].endswith("Z")
    site.workers.wait_told(build["id"])
    assert site.http.get(f"/v1/builds/{build['id']}").json() == build


def test_a_build_is_kept_when_the_queue_is_gone(site):
    site.workers.broken = True
    build = site.ask()
    assert site.http.get(f"/v1/builds/{build['id']}").json()["state"] == "queued"


def test_a_queue_that_hangs_holds_up_no_answer(site):
    site.workers.gate.clear()
    site.workers.slow = True
    try:
        began = time.monotonic()
        builds = [site.ask(str(number)) for number in range(60)]
        assert site.http.get("/v1/builds").status_code == 200
        assert time.monotonic() - began < 5
    finally:
        site.workers.gate.set()
    assert len({build["id"] for build in builds}) == 60


def test_a_request_joins_the_build_that_is_under_way(site):
    first = site.ask()
    site.workers.begin(first["id"])

    again = site.http.post("/v1/builds", json=first["request"])

    assert again.status_code == 200
    assert again.json()["id"] == first["id"]
    site.workers.wait_told(first["id"])


def test_a_request_that_has_a_version_is_answered_with_it(site):
    first = site.ask()
    version = site.workers.build(first["id"])

    again = site.http.post("/v1/builds", json=first["request"])

    assert again.status_code == 200
    build = again.json()
    assert (build["id"], build["state"], build["version"]) == (first["id"], "ready", 1)
    assert (build["image"], build["digest"]) == (version.image, version.digest)
    assert build["stats"]["packages"] == 1
    assert build["stats"]["layers_new"] == 0


def test_defaults_that_are_said_make_no_other_request(site):
    first = site.ask()
    assert site.ask(base="auto", accelerator="cpu", upgrade=False, python=None)["id"] == first["id"]
    assert site.ask(base=None)["id"] == first["id"]
    assert site.ask(python="3.12")["id"] != first["id"]
    assert site.ask(accelerator="cuda")["id"] != first["id"]
    assert site.ask(environment="bob/gan")["id"] != first["id"]


def test_one_in_a_list_is_the_one_and_the_order_of_platforms_says_nothing(site):
    platforms = ["linux/arm64", "linux/amd64"]
    cuda = site.ask(accelerator="cuda", platform="linux/arm64")
    assert site.ask(accelerators=["cuda"], platforms=["linux/arm64"])["id"] == cuda["id"]
    both = site.ask(accelerators=["cpu", "cuda"], platforms=platforms)
    assert both["request"]["accelerators"] == ["cpu", "cuda"]
    assert both["request"]["platforms"] == ["linux/amd64", "linux/arm64"]
    again = site.ask(accelerators=["cpu", "cuda"], platforms=platforms[::-1])
    assert again["id"] == both["id"]
    assert site.ask(accelerators=["cuda", "cpu"], platforms=platforms)["id"] != both["id"]
    # Only cpu, though the source may declare others, is not the same as saying nothing.
    assert site.ask(accelerators=["cpu"])["id"] != site.ask()["id"]


def test_a_version_for_two_platforms_answers_until_one_of_its_bases_is_replaced(site):
    platforms = ["linux/amd64", "linux/arm64"]
    site.add_base()
    arm = {"platform": {"os": "linux", "arch": "arm64"}, "python": {"version": "3.11.2"}}

    def add(digest):
        with writing(site.engine) as session:
            bases.add(session, name="auto", digest=digest, image="r/b", record=arm)

    add("sha256:arm")
    first = site.ask(platforms=platforms)
    images = [
        ImageFacts(
            f"r/alice/gan@sha256:{n}", f"sha256:{n}", "cpu", platform, "auto", base, 1, "sha256:i"
        )
        for n, platform, base in zip(
            "12", platforms, ("sha256:" + "b" * 64, "sha256:arm"), strict=True
        )
    ]
    site.workers.build(first["id"], images=images)
    assert site.ask(platforms=platforms)["version"] == 1
    add("sha256:arm-2")
    assert site.ask(platforms=platforms)["id"] != first["id"]


def test_an_upgrade_never_answers_with_what_is_there(site):
    first = site.ask()
    site.workers.build(first["id"])

    upgrade = site.ask(upgrade=True)

    assert upgrade["id"] != first["id"]
    assert site.ask(upgrade=True)["id"] == upgrade["id"]
    site.workers.build(upgrade["id"])
    assert site.ask()["id"] == upgrade["id"]


def test_an_upgrade_does_not_join_a_build_that_is_none(site):
    first = site.ask()
    assert site.ask(upgrade=True)["id"] != first["id"]


def test_a_new_base_makes_a_new_build_and_the_old_one_back_uses_the_old_version(site):
    first = site.ask()
    site.workers.build(first["id"])
    site.add_base(digest="sha256:" + "d" * 64)

    assert site.ask()["id"] != first["id"]

    site.add_base()
    assert site.ask()["id"] == first["id"]


def test_a_version_that_was_built_while_there_was_no_base_answers_once_its_base_is_there(make_site):
    site = make_site()
    first = site.ask()
    site.workers.begin(first["id"])
    site.add_base()
    site.workers.finish(first["id"])

    assert site.ask()["id"] == first["id"]


def test_files_edited_and_edited_back_become_the_latest_again(site):
    first = site.ask("numpy")
    site.workers.build(first["id"])
    site.workers.build(site.ask("numpy scipy")["id"])

    back = site.ask("numpy")

    assert back["id"] != first["id"]
    site.workers.build(back["id"])
    assert site.http.get("/v1/resolve", params={"env": "alice/gan"}).json()["version"] == 3


def test_a_branch_joins_an_active_build_but_is_looked_up_again_afterwards(site):
    first = site.http.post("/v1/builds", json=git("main"))
    assert first.json()["environment"] == "default/3dgan"
    assert site.http.post("/v1/builds", json=git("main")).json()["id"] == first.json()["id"]
    site.workers.build(first.json()["id"], commit=COMMIT)

    again = site.http.post("/v1/builds", json=git("main"))

    assert again.status_code == 202


def test_a_full_commit_is_answered_with_its_version_even_if_it_is_not_the_latest(site):
    first = site.http.post("/v1/builds", json=git(COMMIT)).json()
    site.workers.build(first["id"], commit=COMMIT)
    other = site.http.post("/v1/builds", json=git("f" * 40)).json()
    site.workers.build(other["id"], commit="f" * 40)

    again = site.http.post("/v1/builds", json=git(COMMIT))

    assert (again.status_code, again.json()["id"]) == (200, first["id"])


def test_a_thousand_identical_requests_at_once_make_one_build(site):
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: site.ask(), range(1000)))

    assert len({build["id"] for build in answers}) == 1
    site.workers.wait_told(answers[0]["id"])


def test_the_same_request_again_costs_two_queries_and_no_write_lock(site):
    build = site.ask()
    site.workers.build(build["id"])
    queries = []
    engine = site.app.state.services.engine
    event.listen(engine, "before_cursor_execute", lambda *args: queries.append(args[2]))

    assert site.ask()["id"] == build["id"]

    assert len([text for text in queries if text.startswith("SELECT")]) == 2
    assert not [text for text in queries if "IMMEDIATE" in text]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"git": {"url": "ext::sh -c id"}}, "git URL"),
        ({"git": {"url": "--upload-pack=x"}}, "git URL"),
        ({"git": {"url": "https://user:secret@git.example/a/b"}}, "credentials"),
        ({"git": {"url": "https://ghp_token@git.example/a/b"}}, "credentials"),
        ({"git": {"url": "ssh://git:secret@git.example/a/b"}}, "credentials"),
    ],
)
def test_a_git_url_that_is_no_plain_one_is_refused_and_not_repeated(site, problem, source, says):
    response = site.http.post("/v1/builds", json={"environment": "a/b", "source": source})
    told = problem(response, 422, "git-refused")
    assert says in told["detail"]
    assert "secret" not in response.text
    assert "ghp_token" not in response.text


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/a/b",
        "git@git.example:a/b.git",
        "ssh://git@git.example/a/b",
        "file:///srv/b",
        "/srv/b",
    ],
)
def test_the_usual_git_urls_are_taken(site, url):
    response = site.http.post("/v1/builds", json=git(url=url))
    assert (response.status_code, response.json()["environment"]) == (202, "default/b")


def test_submodules_and_lfs_files_are_part_of_what_is_asked_and_no_part_otherwise(site):
    def asked(**more):
        source = {"git": {"url": "https://git.example/a/deep", "ref": "main", **more}}
        return site.http.post("/v1/builds", json={"source": source}).json()

    plain = asked()
    assert "submodules" not in plain["request"]["source"]["git"]
    assert asked(submodules=False, lfs=False)["id"] == plain["id"]
    both = asked(submodules=True, lfs=True)
    assert both["id"] != plain["id"]
    git = both["request"]["source"]["git"]
    assert (git["submodules"], git["lfs"]) == (True, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "source"),
        ({"source": {}}, "source"),
        ({"source": {"git": {"url": "https://h/r"}, "files": {"a": "b"}}}, "source"),
        ({"source": {"files": {}}}, "source.files"),
        ({"source": {"files": {"../x": ""}}}, "source.files"),
        ({"source": {"files": {"/etc/x": ""}}}, "source.files"),
        ({"source": {"files": {"a\\b": ""}}}, "source.files"),
        ({"source": {"files": {"a": "\0"}}}, "source.files.a"),
        ({"source": {"files": {"a": 1}}}, "source.files.a"),
        ({"source": {"git": {"url": "https://h/r", "subdir": "../.."}}}, "source.git.subdir"),
        ({"source": {"git": {}}}, "source.git.url"),
        ({"source": {"files": {"a": "b"}}}, "environment"),
        ({"source": {"git": {"url": "https://h/r"}}, "envronment": "a/b"}, "envronment"),
        ({"source": {"git": {"url": "https://h/r"}}, "environment": "A/b"}, "environment"),
        ({"source": {"git": {"url": "https://h/r"}}, "python": "2.7"}, "python"),
        ({"source": {"git": {"url": "https://h/r"}}, "accelerator": "gpu"}, "accelerator"),
        ({"source": {"git": {"url": "https://h/r"}}, "platform": "windows/386"}, "platform"),
        ({"source": {"git": {"url": "https://h/r"}}, "platforms": ["a/b"]}, "platforms"),
        ({"source": {"git": {"url": "https://h/r"}}, "accelerators": ["cpu"] * 2}, "twice"),
        ({"source": {"git": {"url": "https://h/r"}}, "accelerators": ["cpu"] * 9}, "accelerators"),
        (
            {
                "source": {"git": {"url": "https://h/r"}},
                "platform": "linux/arm64",
                "platforms": ["linux/arm64"],
            },
            "not both",
        ),
        ([], "the body"),
    ],
)
def test_a_request_that_is_not_valid_names_its_field(site, problem, body, field):
    told = problem(site.http.post("/v1/builds", json=body), 422, "invalid-request")
    assert field in told["detail"]
    assert site.workers.told == []


def test_a_base_that_does_not_exist_is_told_at_once(site, problem):
    response = site.http.post(
        "/v1/builds", json=git() | {"base": "nothing", "environment": "alice/gan"}
    )
    assert "nothing" in problem(response, 422, "base-not-found")["detail"]
    image = {"base": "docker.io/library/python:3.12-slim"}
    assert site.http.post("/v1/builds", json=git() | image).status_code == 202


def test_a_failed_build_shows_its_problem_whole(site):
    build = site.ask()
    site.workers.begin(build["id"])
    site.workers.fail(
        build["id"],
        {"type": "no-wheel", "detail": "There is no wheel of x.", "package": "x", "line": 3},
    )

    told = site.http.get(f"/v1/builds/{build['id']}").json()

    assert told["state"] == "failed"
    assert told["error"] == {
        "type": "https://kitbag.dev/problems/no-wheel",
        "title": "A package has no fitting wheel",
        "status": 422,
        "detail": "There is no wheel of x.",
        "instance": None,
        "file": None,
        "line": 3,
        "package": "x",
        "build": build["id"],
    }


def test_builds_are_listed_by_page_without_the_texts_of_their_files(site):
    ids = [site.ask(str(number))["id"] for number in range(5)]
    site.ask(environment="bob/lab")
    page = site.http.get("/v1/builds", params={"environment": "alice/gan", "limit": 3}).json()
    rest = site.http.get(
        "/v1/builds", params={"environment": "alice/gan", "limit": 3, "before": page["next"]}
    ).json()

    assert {build["id"] for build in page["items"] + rest["items"]} == set(ids)
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (3, 2, None)
    assert page["items"][0]["request"]["source"] == {"files": {"requirements.txt": None}}
    queued = site.http.get("/v1/builds", params={"state": "queued"}).json()["items"]
    assert len(queued) == 6


def test_lists_refuse_states_and_limits_that_there_are_not(site, problem):
    for query, field in (({"state": "done"}, "state"), ({"limit": 1000}, "limit")):
        told = problem(site.http.get("/v1/builds", params=query), 422, "invalid-request")
        assert field in told["detail"]
    asked = site.http.get("/v1/builds", params={"environment": "no/one"})
    problem(asked, 404, "environment-not-found")


def test_a_queued_build_is_cancelled_once_and_for_all(site):
    build = site.ask()
    first = site.http.delete(f"/v1/builds/{build['id']}")
    again = site.http.delete(f"/v1/builds/{build['id']}")
    assert (first.status_code, first.json()["state"]) == (202, "cancelled")
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert site.ask()["id"] != build["id"]


def test_a_running_build_is_asked_to_stop(site):
    build = site.ask()
    site.workers.begin(build["id"])
    response = site.http.delete(f"/v1/builds/{build['id']}")
    assert (response.status_code, response.json()["state"]) == (202, "resolving")
    with reading(site.engine) as session:
        assert session.get_one(Build, build["id"]).cancel_requested_at is not None


def test_a_build_that_ended_is_not_cancelled(site, problem):
    build = site.ask()
    site.workers.build(build["id"])
    problem(site.http.delete(f"/v1/builds/{build['id']}"), 409, "build-ended")
    for method in ("GET", "DELETE"):
        problem(site.http.request(method, "/v1/builds/nothing"), 404, "build-not-found")
    problem(site.http.get("/v1/builds/nothing/events"), 404, "build-not-found")


def test_requests_that_race_with_cancels_leave_one_active_build_at_most(site):
    stop = threading.Event()

    def cancel() -> None:
        while not stop.is_set():
            for build in site.http.get("/v1/builds", params={"state": "queued"}).json()["items"]:
                site.http.delete(f"/v1/builds/{build['id']}")

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: site.ask(), range(100)))
    finally:
        stop.set()
        thread.join()
    with reading(site.engine) as session:
        queued = select(func.count(Build.id)).where(Build.state == BuildState.QUEUED)
        assert session.scalar(queued) <= 1


def test_choices_about_packages_are_part_of_what_is_asked(site):
    plain = site.ask()
    chosen = {
        "extras": ["GPU_x", "plot", "gpu-x"],
        "groups": ["test"],
        "indexes": ["https://{secret:corp}@pypi.corp.example/simple"],
        "default_index": "https://mirror.corp.example/simple",
        "index_strategy": "unsafe-best-match",
        "exclude_newer": "2026-01-31",
        "compression": "zstd",
    }
    build = site.ask(**chosen)
    asked = {name: build["request"][name] for name in chosen}
    assert asked == chosen | {"extras": ["gpu-x", "plot"], "exclude_newer": "2026-02-01T00:00:00Z"}
    later = "2026-02-01T01:00:00+01:00"
    assert site.ask(**chosen | {"exclude_newer": later})["id"] == build["id"]
    different = [site.ask(**{name: value})["id"] for name, value in chosen.items()]
    assert len({plain["id"], build["id"], *different}) == 9
    assert site.ask(extras=[], exclude_newer=None)["id"] == plain["id"]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"exclude_newer": "yesterday"}, "give a date such as 2026-01-31"),
        ({"exclude_newer": "2026-01-31T00:00:00"}, "a time with an offset"),
        ({"exclude_newer": "9999-12-31"}, "give a date"),
        ({"indexes": ["https://me:hunter2@pypi.example/simple"]}, "ask the operator for a secret"),
        ({"indexes": ["https://hunter2@pypi.example/simple"]}, "ask the operator for a secret"),
        ({"default_index": "ftp://pypi.example/"}, "http or https URL"),
        ({"default_index": "https://[pypi"}, "http or https URL"),
        ({"indexes": ["https://a.example/"] * 11}, "indexes"),
        ({"extras": ["a b"]}, "extras"),
        ({"groups": ["x"] * 51}, "groups"),
        ({"index_strategy": "best"}, "index_strategy"),
        ({"compression": "xz"}, "compression"),
        (
            {"source": {"files": {"requirements.txt": "-i https://me:hunter2@pypi.example/s"}}},
            "ask the operator for a secret",
        ),
    ],
)
def test_a_choice_that_can_not_be_is_refused_without_being_quoted(site, choice, says):
    body = {"environment": "a/b", "source": {"files": {"requirements.txt": ""}}} | choice
    refused = site.http.post("/v1/builds", json=body)
    assert refused.status_code == 422
    assert says in refused.json()["detail"]
    assert "hunter2" not in refused.text


def test_who_asked_owns_the_build_and_what_comes_of_it(site):
    version = site.new_version()
    with reading(site.engine) as session:
        assert builds.get(session, version.build_id).created_by == "kitbag:local"
    assert version.created_by == "kitbag:local"
    rolled = site.http.post("/v1/environments/alice/gan/rollback", json={"to": "1"})
    with reading(site.engine) as session:
        assert versions.find(session, "alice/gan").number == rolled.json()["number"]
        assert versions.find(session, "alice/gan").created_by == "kitbag:local"


def test_a_request_joins_the_build_that_makes_its_base(make_site):
    """The base is part of the key, and the first build of all is asked for before there is one."""
    site = make_site()
    first = site.ask()
    site.workers.begin(first["id"])
    site.add_base()
    assert site.ask()["id"] == first["id"]
    site.workers.finish(first["id"])
    assert site.ask()["id"] == first["id"]
    other = site.ask("scipy")
    assert other["id"] != first["id"]
