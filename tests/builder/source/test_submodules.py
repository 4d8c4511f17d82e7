"""Submodules over real git: their recorded commits, and where their repositories may be."""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rig.git import TOKEN, USER, GitServer, Repository

from builder.errors import (
    BuildError,
    GitRefusedError,
    InvalidSpecError,
    SourceNotFoundError,
    TooLargeError,
)
from builder.model import Step
from builder.source import Checkout, GitSource, HostPolicy, SourcePolicy, fetch
from builder.source.submodules import located
from builder.source.url import read_url

LOCAL = SourcePolicy.local()
LOGIN = (USER, TOKEN)
NUMBERS = itertools.count()


def get(url: str, into: Path, policy: SourcePolicy = LOCAL, *, submodules: bool = True) -> Checkout:
    return fetch(GitSource(url, submodules=submodules), into, policy=policy)


def outer(git_server: GitServer, *inner: tuple[str, str, str], name: str = "outer") -> Repository:
    """A repository with submodules, each a path, a commit and a URL."""
    made = git_server.repository(f"{name}-{next(NUMBERS)}", {"requirements.txt": "numpy\n"})
    for path, commit, url in inner:
        made.add_submodule(path, commit, url)
    made.commit_index()
    return made


@pytest.fixture
def inner(git_server: GitServer) -> Repository:
    """Two commits, so that a recorded one need not be the newest."""
    made = git_server.repository(f"inner-{next(NUMBERS)}", {"data.txt": "old\n"})
    made.tag("recorded")
    made.commit({"data.txt": "new\n"})
    return made


def recorded(repository: Repository) -> str:
    return repository.git("rev-parse", "recorded").strip()


def test_submodules_are_at_their_recorded_commits_however_deep_and_however_named(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    relative = f"../{inner.path.name}"
    middle = outer(git_server, ("deep/er", recorded(inner), relative), name="middle")
    top = outer(
        git_server,
        ("libs/middle", middle.head, f"../{middle.path.name}"),
        ("libs/in ner", inner.head, inner.http_url),
    )
    checkout = get(top.http_url, tmp_path / "x")
    found = {
        str(path.relative_to(tmp_path / "x")): path.read_text()
        for path in (tmp_path / "x").rglob("*")
        if path.is_file()
    }
    assert found.pop(".gitmodules")
    assert found.pop("libs/middle/.gitmodules")
    assert found == {
        "requirements.txt": "numpy\n",
        "libs/middle/requirements.txt": "numpy\n",
        "libs/middle/deep/er/data.txt": "old\n",
        "libs/in ner/data.txt": "new\n",
    }
    assert checkout.commit == top.head
    assert checkout.warnings == ()
    assert checkout.size_bytes > sum(map(len, found.values()))


def test_what_is_not_asked_for_stays_empty_and_is_named_in_one_sentence(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    url = f"../{inner.path.name}"
    one = outer(git_server, ("lib", inner.head, url))
    many = outer(git_server, *((f"lib{n}", inner.head, url) for n in range(5)))
    steps: list[Step] = []
    source = GitSource(one.http_url)
    checkout = fetch(source, tmp_path / "one", policy=LOCAL, report=steps.append)
    sentence = "'lib' is a submodule and left empty: ask for that with --submodules."
    assert checkout.warnings == (sentence,)
    assert [step.message for step in steps if step.kind == "warning"] == [sentence]
    assert list((tmp_path / "one" / "lib").iterdir()) == []
    more = get(many.http_url, tmp_path / "many", submodules=False)
    assert more.warnings[0].startswith("'lib0', 'lib1', 'lib2' and 2 more are submodules")


def test_a_private_submodule_of_the_same_host_is_shown_the_same_login(
    git_server: GitServer, tmp_path: Path
) -> None:
    hidden = git_server.repository(f"private/hidden-{next(NUMBERS)}", {"a": "hidden"})
    url = f"../{hidden.path.name}"
    by_ssh = f"git@127.0.0.1:private/{hidden.path.name}"
    top = outer(git_server, ("one", hidden.head, url), ("two", hidden.head, by_ssh),
                name="private/top")  # fmt: skip
    get(top.http_url, tmp_path / "x", replace(LOCAL, login=LOGIN))
    in_url = top.http_url.replace("://", f"://{USER}:{TOKEN}@")
    get(in_url, tmp_path / "y")
    for into in ("x", "y"):
        for folder in ("one", "two"):
            assert (tmp_path / into / folder / "a").read_text() == "hidden"


def test_no_other_host_port_or_scheme_is_shown_the_login_or_the_key() -> None:
    key = Path("/nonexistent/key")
    policy = replace(LOCAL, login=LOGIN, ssh_key=key, known_hosts=key)
    main = read_url("https://git.example.org/a/main.git", policy)
    shown = {
        "../lib": ("https://git.example.org/a/lib", True),
        "../../b/lib.git": ("https://git.example.org/b/lib.git", True),
        "https://git.example.org/c": ("https://git.example.org/c", True),
        "https://git.example.org:443/c": ("https://git.example.org/c", True),
        "git@git.example.org:c/lib": ("https://git.example.org/c/lib", True),
        "ssh://git@git.example.org:2222/c/lib": ("https://git.example.org/c/lib", True),
        "https://git.example.org:8443/c": ("https://git.example.org:8443/c", False),
        "http://git.example.org/c": ("http://git.example.org/c", False),
        "https://git.example.org.evil.example/c": ("https://git.example.org.evil.example/c", False),
        "https://evil.example/git.example.org": ("https://evil.example/git.example.org", False),
        "git@evil.example:c/lib": ("ssh://git@evil.example/c/lib", False),
    }
    for url, (where, is_shown) in shown.items():
        found, own = located(url, main, main, policy)
        assert found.text == where
        assert (own.login == LOGIN, own.ssh_key == key) == (is_shown, is_shown), url
    by_key = read_url("git@git.example.org:a/main.git", policy)
    assert located("../lib", by_key, by_key, policy)[1].ssh_key == key
    assert located("https://git.example.org/a/lib", by_key, by_key, policy)[1].ssh_key is None
    elsewhere = read_url("https://elsewhere.example/lib", policy)
    found, own = located("../more", elsewhere, main, policy)
    assert (found.text, own.login) == ("https://elsewhere.example/more", None)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id",
        "-u",
        "https://169.254.169.254/r",
        "https://localhost/r",
        "../../../../../up",
        "https://10.0.0.1/r",
        "http://git.example.org/r",
        "file:///etc",
        "/etc",
        "git://x.example/r",
        "ssh://-oProxyCommand=x/r",
        "https://[::1/r",
        "https://x.example/r?a=b",
        "user@[::1/x:y",
    ],
)
def test_a_submodules_url_is_held_to_what_holds_for_the_repositorys(
    git_server: GitServer, inner: Repository, url: str, tmp_path: Path
) -> None:
    policy = SourcePolicy(
        protocols=frozenset({"https", "ssh"}), hosts=HostPolicy(allowed=frozenset({".corp"}))
    )
    main = read_url("https://git.corp/a/b", policy)
    with pytest.raises(GitRefusedError):
        located(url, main, main, policy)
    top = outer(git_server, ("lib", inner.head, url))
    policy = SourcePolicy(
        protocols=frozenset({"http", "https", "ssh"} - {url.partition(":")[0]} | {"http"}),
        hosts=HostPolicy(allowed=frozenset({"127.0.0.1"})),
        timeout_s=30,
    )
    with pytest.raises(BuildError, match="The submodule 'lib' can't be fetched"):
        get(top.http_url, tmp_path / "x", policy)
    assert not (tmp_path / "x").exists()


def test_a_repository_of_the_network_may_not_bring_a_folder_of_this_machine(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    top = outer(git_server, ("lib", inner.head, inner.file_url))
    with pytest.raises(GitRefusedError, match="may not have one of this machine"):
        get(top.http_url, tmp_path / "x")
    assert get(top.file_url, tmp_path / "y").commit == top.head
    assert (tmp_path / "y" / "lib" / "data.txt").read_text() == "new\n"


def test_a_submodule_that_is_not_there_is_named(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    gone = outer(git_server, ("libs/gone", inner.head, "../no-such.git"))
    with pytest.raises(SourceNotFoundError, match="'libs/gone' can't be fetched: There is no git"):
        get(gone.http_url, tmp_path / "x")
    unsaid = outer(git_server, ("lib", inner.head, "../x"))
    unsaid.git("config", "--file", ".gitmodules", "--unset", "submodule.lib.url")
    unsaid.commit_index()
    with pytest.raises(InvalidSpecError, match=r"'lib' is a submodule, and .gitmodules has no URL"):
        get(unsaid.http_url, tmp_path / "x")
    unsaid.commit({".gitmodules": "[submodule\n"})
    with pytest.raises(InvalidSpecError, match=r".gitmodules can't be read"):
        get(unsaid.http_url, tmp_path / "x")
    unsaid.commit({".gitmodules": "#" * (1 << 20) + "\n"})
    with pytest.raises(TooLargeError, match="over 1 MiB"):
        get(unsaid.http_url, tmp_path / "x")


def test_a_submodule_that_is_never_updated_is_left_out(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    top = outer(git_server, ("lib", inner.head, f"../{inner.path.name}"))
    top.git("config", "--file", ".gitmodules", "submodule.lib.update", "none")
    top.commit_index()
    get(top.http_url, tmp_path / "x")
    assert list((tmp_path / "x" / "lib").iterdir()) == []


def test_the_limits_hold_for_all_repositories_together(
    git_server: GitServer, tmp_path: Path
) -> None:
    zeros = git_server.repository(f"zeros-{next(NUMBERS)}", {"zeros": bytes(700 << 10)})
    noise = git_server.repository(f"noise-{next(NUMBERS)}", {"noise": os.urandom(400 << 10)})
    for made in (zeros, noise):
        url = f"../{made.path.name}"
        top = outer(git_server, ("one", made.head, url), ("two", made.head, url))
        small = replace(LOCAL, max_bytes=1 << 20)
        if made is noise:  # unpacked it would fit, downloaded twice it would not
            small = replace(small, max_bytes=700 << 10)
        with pytest.raises(TooLargeError, match=r"larger than (1 MiB|700 KiB)"):
            get(top.http_url, tmp_path / "x", small)
        get(top.http_url, tmp_path / made.name)
    with pytest.raises(TooLargeError, match="more than 1 submodules"):
        get(top.http_url, tmp_path / "x", replace(LOCAL, max_submodules=1))
    nested = outer(git_server, ("top", top.head, f"../{top.path.name}"))
    with pytest.raises(TooLargeError, match="nested more than 1 deep, at 'top/one'"):
        get(nested.http_url, tmp_path / "x", replace(LOCAL, max_submodule_depth=1))
    many = git_server.repository(f"many-{next(NUMBERS)}", {f"f{n}": "" for n in range(9)})
    top = outer(git_server, ("one", many.head, f"../{many.path.name}"))
    with pytest.raises(TooLargeError, match="repository with its submodules holds more than 10"):
        get(top.http_url, tmp_path / "x", replace(LOCAL, max_files=10))
    assert not (tmp_path / "x").exists()


def test_a_link_of_a_submodule_that_leads_outside_becomes_text(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository(f"linked-{next(NUMBERS)}", {"file": "x"})
    (made.work_tree / "passwd").symlink_to("/etc/passwd")
    (made.work_tree / "up").symlink_to("../../../../etc/passwd")
    (made.work_tree / "above").symlink_to("../requirements.txt")
    made.commit_all("links")
    top = outer(git_server, ("lib", made.head, f"../{made.path.name}"))
    checkout = get(top.http_url, tmp_path / "x")
    lib = tmp_path / "x" / "lib"
    assert (lib / "passwd").read_text() == "/etc/passwd"
    assert not (lib / "passwd").is_symlink()
    assert not (lib / "up").is_symlink()
    assert (lib / "above").read_text() == "numpy\n"
    assert [warning.split("'")[1] for warning in checkout.warnings] == ["lib/passwd", "lib/up"]


def test_a_submodule_is_never_written_through_a_link(
    git_server: GitServer, inner: Repository, tmp_path: Path
) -> None:
    # Git itself would not make such a tree: a link, and a submodule behind its name.
    made = git_server.repository(f"through-{next(NUMBERS)}", {"a": "b"})
    made.add_submodule("link/lib", inner.head, f"../{inner.path.name}")
    made.commit_index()
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = made.git("rev-parse", "HEAD^{tree}").strip()
    (made.work_tree / "target").write_text(str(outside))
    blob = made.git("hash-object", "-w", "target").strip()
    listing = made.work_tree / "listing"
    listing.write_text(made.git("ls-tree", tree) + f"120000 blob {blob}\tlink\n")
    forged = _tree(made, listing)
    commit = made.git("commit-tree", "-m", "forged", forged).strip()
    made.git("push", "-q", "--force", "origin", f"{commit}:refs/heads/main")
    with contextlib.suppress(BuildError):  # which of the two git takes is its own affair
        get(made.http_url, tmp_path / "x")
    assert list(outside.iterdir()) == []


def _tree(made: Repository, listing: Path) -> str:
    """`git mktree` of a listing, which sorts and does not look for names that are there twice."""
    script = f"mktree < {listing}"
    made.git("config", "alias.forge", f"!git {script}")
    return made.git("forge").strip()
