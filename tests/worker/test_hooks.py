"""What workers do for webhooks: the next build of a branch, and the statuses of commits."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from rig.http import QuietHandler, serve
from sqlalchemy import func, select, update

from catalog import environments, hooks, statuses
from catalog.engine import writing
from catalog.hook_models import CommitState, CommitStatus, Hook
from catalog.hooks import Push, Wanted
from catalog.types import utcnow
from worker import hooks as following
from worker import tasks

from .conftest import Site

TOKEN = "t0ken-of-the-forge"
A, B = "a" * 40, "b" * 40


@dataclass
class ForgeServer:
    """A forge's API that keeps what it was told, and may refuse it."""

    url: str = ""
    refusing: int = 0
    told: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def forge() -> Iterator[ForgeServer]:
    kept = ForgeServer()

    class Handler(QuietHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if kept.refusing:
                kept.refusing -= 1
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.told.append((self.path, headers, json.loads(body)))
            self.send_response(HTTPStatus.CREATED)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serve(Handler) as port:
        kept.url = f"http://127.0.0.1:{port}"
        yield kept


@pytest.fixture
def site(tmp_path: Path, forge: ForgeServer, make_site: Callable[..., Site]) -> Site:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "statuses.toml").write_text(
        f'url = "{forge.url}"\nuse = "status"\npassword = "{TOKEN}"\nnamespaces = ["alice"]\n'
    )
    return make_site(secrets=folder, public_url="https://kitbag.example")


def add(site: Site, forge: str = "github", environment: str = "alice/gan") -> Hook:
    with writing(site.engine) as session:
        hook = hooks.add(
            session,
            environment,
            forge=forge,
            repository="git.example/hep/gan",
            url="https://git.example/hep/gan.git",
            branches=[{"pattern": "main", "environment": environment}],
            status_secret="statuses",
        )
        session.expunge_all()
        return hook


def push(site: Site, hook: Hook, before: str | None, after: str, *packages: str) -> str | None:
    """What the API does with a push; the source is inline, since git is not what is tested."""
    name = hook.environment.full_name
    source = {"files": {"requirements.txt": "\n".join(packages)}}
    request = {"environment": name, "source": source}
    wanted = Wanted(name, request, f"key-{after}", f"key-{after}")
    with writing(site.engine) as session:
        found = hooks.get(session, hook.id)
        moved = Push("refs/heads/main", "main", before, after)
        return hooks.push(session, found, moved, wanted).build_id


def build(site: Site, build_id: str) -> None:
    """What the task of a build does, follow-up included."""
    from worker import building

    building.build(site.kit, build_id)


def due_now(site: Site) -> None:
    with writing(site.engine) as session:
        waiting = update(CommitStatus).where(CommitStatus.next_at.is_not(None))
        session.execute(waiting.values(next_at=utcnow() - timedelta(seconds=1)))


PATHS = {
    "github": f"/api/v3/repos/hep/gan/statuses/{A}",
    "gitea": f"/api/v1/repos/hep/gan/statuses/{A}",
    "gitlab": f"/api/v4/projects/hep%2Fgan/statuses/{A}",
    "bitbucket": f"/2.0/repositories/hep/gan/commit/{A}/statuses/build",
}
WORDS = {
    "github": ("pending", "success"),
    "gitea": ("pending", "success"),
    "gitlab": ("running", "success"),
    "bitbucket": ("INPROGRESS", "SUCCESSFUL"),
}
SHOWN = {
    "github": ("authorization", f"Bearer {TOKEN}"),
    "gitea": ("authorization", f"token {TOKEN}"),
    "gitlab": ("private-token", TOKEN),
    "bitbucket": ("authorization", f"Bearer {TOKEN}"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_forge_is_told_that_a_commit_is_built_and_that_it_is_ready(
    site: Site, forge: ForgeServer, name: str
) -> None:
    build_id = push(site, add(site, name), None, A, "one")
    assert build_id is not None
    following.report(site.kit)
    build(site, build_id)
    assert following.settle(site.kit) == []
    following.report(site.kit)
    following.report(site.kit)
    assert [path for path, _, _ in forge.told] == [PATHS[name]] * 2
    assert tuple(body["state"] for _, _, body in forge.told) == WORDS[name]
    header, value = SHOWN[name]
    assert all(headers[header] == value for _, headers, _ in forge.told)
    body = forge.told[1][2]
    assert body["description"].startswith("alice/gan:1 sha256:")
    link = body.get("target_url") or body.get("url")
    assert link == f"https://kitbag.example/builds/{build_id}"


def test_a_commit_that_can_not_be_built_fails_with_the_reason(
    site: Site, forge: ForgeServer
) -> None:
    build_id = push(site, add(site), None, A, "there-is-no-such-package")
    assert build_id is not None
    build(site, build_id)
    following.settle(site.kit)
    following.report(site.kit)
    [(_, _, body)] = forge.told
    assert body["state"] == "failure" and "there-is-no-such-package" in body["description"]
    assert len(body["description"]) <= 140


class Clock:
    """The time of the statuses, which a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = self.now = utcnow()
        for module in (statuses, following):
            monkeypatch.setattr(module, "utcnow", lambda: self.now)

    def run(self, site: Site, until: Callable[[timedelta], bool]) -> None:
        """Sweep whenever something is due, until that is so or nothing is to be told any more."""
        while not until(self.now - self.began):
            with writing(site.engine) as session:
                waiting = select(func.min(CommitStatus.next_at))
                due = session.scalar(waiting)
            if due is None:
                return
            self.now = max(self.now, due)
            following.report(site.kit)


def test_a_forge_that_fails_for_an_hour_hears_the_end_alone_within_the_next_half_hour(
    site: Site, forge: ForgeServer, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    clock = Clock(monkeypatch)
    forge.refusing = 10**9
    build_id = push(site, add(site), None, A, "one")
    following.report(site.kit)
    assert build_id is not None
    build(site, build_id)
    following.settle(site.kit)
    with caplog.at_level(logging.DEBUG):
        clock.run(site, lambda passed: passed > timedelta(hours=1))
        tried = 10**9 - forge.refusing
        forge.refusing = 0
        clock.run(site, lambda _: False)
    assert [body["state"] for _, _, body in forge.told] == ["success"]
    assert clock.now - clock.began < timedelta(hours=1, minutes=31 + 30)
    assert tried < 20
    assert TOKEN not in caplog.text


def test_a_forge_that_never_answers_is_given_up_after_three_days(
    site: Site, forge: ForgeServer, monkeypatch: Any
) -> None:
    clock = Clock(monkeypatch)
    forge.refusing = 10**9
    push(site, add(site), None, A, "one")
    clock.run(site, lambda _: False)
    assert timedelta(days=3) < clock.now - clock.began < timedelta(days=3, hours=1)
    assert forge.told == []


def test_waits_between_tries_grow(site: Site, forge: ForgeServer) -> None:
    forge.refusing = 3
    push(site, add(site), None, A, "one")
    waits = []
    for _ in range(3):
        due_now(site)
        following.report(site.kit)
        with writing(site.engine) as session:
            row = session.query(CommitStatus).one()
            assert row.next_at is not None
            waits.append((row.next_at - utcnow()).total_seconds())
    assert waits[0] < waits[1] < waits[2]


def test_a_state_that_comes_while_an_older_one_is_sent_is_sent_too(
    site: Site, forge: ForgeServer
) -> None:
    hook = add(site)
    push(site, hook, None, A, "one")
    with writing(site.engine) as session:
        [taken] = statuses.due(session, 10, timedelta(minutes=1))
        session.expunge_all()
    with writing(site.engine) as session:
        statuses.tell(
            session, hooks.get(session, hook.id), A, CommitState.SUCCESS, "It is ready.", None
        )
    with writing(site.engine) as session:
        statuses.sent(session, taken)
    following.report(site.kit)
    assert [body["state"] for _, _, body in forge.told] == ["success"]


def test_a_namespace_that_may_not_use_the_secret_sends_nothing(
    site: Site, forge: ForgeServer
) -> None:
    push(site, add(site, environment="mallory/gan"), None, A, "one")
    following.report(site.kit)
    assert forge.told == []


def test_the_sweep_expires_environments_whose_time_is_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "services", lambda: site.kit)
    with writing(site.engine) as session:
        environments.keep_until(session, "alice/gan-pr-1", utcnow() - timedelta(seconds=1))
        environments.keep_until(session, "alice/gan-pr-2", utcnow() + timedelta(hours=1))
        environments.get_or_create(session, "alice/gan")
    tasks.follow_up()
    with writing(site.engine) as session:
        assert [one.full_name for one in environments.expired(session)] == ["alice/gan-pr-1"]


def test_the_next_commit_of_a_branch_is_built_when_the_one_before_ended(site: Site) -> None:
    hook = add(site)
    first = push(site, hook, None, A, "one")
    assert first is not None and push(site, hook, A, B, "two") == first
    build(site, first)
    [second] = following.settle(site.kit)
    build(site, second)
    assert following.settle(site.kit) == []
    with writing(site.engine) as session:
        from catalog import versions

        names = versions.find(session, "alice/gan", whole=True).packages
    assert {item["name"] for item in names} >= {"one", "two"}


def test_the_task_of_a_build_follows_up_by_itself(
    site: Site, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "services", lambda: site.kit)
    build_id = push(site, add(site), None, A, "one")
    tasks.build.apply([build_id], routing_key="layered", throw=True)
    assert forge.told[-1][2]["state"] == "success"
