"""Real git over real transports, all on loopback."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path

import pytest
from rig import git as rig_git
from rig.git import TOKEN, USER, GitServer, Repository
from rig.http import serve
from rig.lfs import LfsServer

from builder.errors import (
    RefNotFoundError,
    SourceNotFoundError,
)
from builder.source import Checkout, GitSource, SourcePolicy, fetch, resolve_commit

LOCAL = SourcePolicy.local()


def urls(repository: Repository) -> dict[str, str]:
    return {"http": repository.http_url, "git": repository.git_url, "file": repository.file_url}


def get(url: str, into: Path, ref: str | None = None, policy: SourcePolicy = LOCAL) -> Checkout:
    return fetch(GitSource(url, ref), into, policy=policy)


@pytest.mark.parametrize("transport", ["http", "git", "file"])
def test_branches_tags_commits_and_the_default_branch_are_fetched(
    repository: Repository, tmp_path: Path, transport: str
) -> None:
    url = urls(repository)[transport]
    main = repository.git("rev-parse", "main").strip()
    first, second = (
        repository.git("rev-parse", f"{tag}^{{commit}}").strip() for tag in ("v1", "v2")
    )
    branch = repository.git("rev-parse", "feature/x").strip()
    for ref, commit, text, name in [
        (None, main, "three", "refs/heads/main"),
        ("HEAD", main, "three", "refs/heads/main"),
        ("main", main, "three", "refs/heads/main"),
        ("feature/x", branch, "branch", "refs/heads/feature/x"),
        ("refs/heads/feature/x", branch, "branch", "refs/heads/feature/x"),
        ("v1", first, "one", "refs/tags/v1"),
        ("v2", second, "two", "refs/tags/v2"),
        ("refs/tags/v2", second, "two", "refs/tags/v2"),
        (second, second, "two", None),
        (second.upper(), second, "two", None),
        (second[:7], second, "two", None),
        (main[:9], main, "three", None),
    ]:
        into = tmp_path / f"{ref}".replace("/", "-")
        assert resolve_commit(GitSource(url, ref), LOCAL) == commit
        checkout = get(url, into, ref)
        assert (checkout.commit, checkout.ref, checkout.url) == (commit, name, url)
        assert (into / "requirements.txt").read_text() == f"{text}\n"
        assert not (into / ".git").exists()
        assert checkout.commit_time == 1767225600


def test_a_checkout_says_how_much_there_is(repository: Repository, tmp_path: Path) -> None:
    checkout = get(repository.http_url, tmp_path / "x")
    assert checkout.file_count == 2
    assert checkout.size_bytes == len("three\n") + len("#!/bin/sh\n")


@pytest.mark.parametrize(
    "ref", ["nope", "v9", "refs/heads/nope", "deadbee", "0" * 40, "-x", "--upload-pack=x", "a b",
            "a..b", "@{-1}", "main:", "x" * 300, "", "refs/heads/*", "main^{tree}", "a\nb"]
)  # fmt: skip
@pytest.mark.parametrize("transport", ["http", "file"])
def test_a_ref_that_is_not_there_is_named(
    repository: Repository, tmp_path: Path, ref: str, transport: str
) -> None:
    with pytest.raises(RefNotFoundError) as caught:
        get(urls(repository)[transport], tmp_path / "x", ref)
    assert "\n" not in caught.value.detail
    assert not (tmp_path / "x").exists()


def test_a_commit_that_only_history_holds_is_fetched_from_a_server_of_protocol_0(
    git_server: GitServer, repository: Repository, tmp_path: Path
) -> None:
    # Protocol 0 hands out only what a ref points to, as old servers do.
    core = Path(rig_git._git(Path("/"), "--exec-path").strip())
    inner = rig_git._backend(core / "git-http-backend", repository.path.parent, LfsServer())

    class OldServer(inner):  # type: ignore[misc, valid-type]
        def answer(self) -> None:
            del self.headers["Git-Protocol"]
            super().answer()

    old = repository.git("rev-parse", "v1").strip()
    hidden = repository.git("rev-parse", "v2^{commit}").strip()
    with serve(OldServer) as port:
        url = f"http://127.0.0.1:{port}/{repository.path.name}"
        for ref, commit, text in (
            ("v1", old, "one"),
            (hidden, hidden, "two"),
            (None, None, "three"),
        ):
            checkout = get(url, tmp_path / text, ref)
            assert commit in (None, checkout.commit)
            assert (tmp_path / text / "requirements.txt").read_text() == f"{text}\n"
        with pytest.raises(RefNotFoundError):
            get(url, tmp_path / "x", "1" * 40)


@pytest.mark.parametrize("transport", ["http", "git", "file"])
def test_a_repository_that_does_not_exist_is_named(
    repository: Repository, tmp_path: Path, transport: str
) -> None:
    url = urls(repository)[transport].replace("source-", "missing-")
    with pytest.raises(SourceNotFoundError) as caught:
        get(url, tmp_path / "x")
    assert url in caught.value.detail


def test_a_repository_without_a_commit_says_so(git_server: GitServer, tmp_path: Path) -> None:
    made = git_server.repository("empty")
    with pytest.raises(SourceNotFoundError, match="no commit yet"):
        get(made.http_url, tmp_path / "x")


def test_a_private_repository_needs_credentials_and_shows_none(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("private/mine", {"a": "b"})
    with pytest.raises(SourceNotFoundError, match="needs credentials"):
        get(made.http_url, tmp_path / "x")
    wrong = made.http_url.replace("://", f"://{USER}:wr0ng@")
    with pytest.raises(SourceNotFoundError) as caught:
        get(wrong, tmp_path / "x")
    assert "wr0ng" not in caught.value.detail
    checkout = get(made.http_url.replace("://", f"://{USER}:{TOKEN}@"), tmp_path / "x")
    assert checkout.url == made.http_url
    assert TOKEN not in repr(checkout)


def test_credentials_are_never_on_a_command_line(git_server: GitServer, tmp_path: Path) -> None:
    made = git_server.repository("private/seen", {"a": "b"})
    seen: list[str] = []
    stop = threading.Event()

    def watch() -> None:
        encoded = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        while not stop.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = process.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if TOKEN in line or encoded in line:
                    seen.append(line)
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        get(made.http_url.replace("://", f"://{USER}:{TOKEN}@"), tmp_path / "x")
    finally:
        stop.set()
        thread.join()
    assert seen == []


def test_nothing_is_left_in_the_temporary_folder(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    get(repository.http_url, tmp_path / "x")
    with pytest.raises(RefNotFoundError):
        get(repository.http_url, tmp_path / "y", "nope")
    assert not list(scratch.iterdir())
