"""What a hostile repository, URL or server may not do."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rig.git import GitServer, Repository
from rig.http import QuietHandler, serve

from builder.errors import (
    CancelledError,
    GitRefusedError,
    SourceUnreachableError,
    TimedOutError,
    TooLargeError,
)
from builder.model import Step
from builder.source import Checkout, GitSource, HostPolicy, SourcePolicy, fetch

LOCAL = SourcePolicy.local()


def get(url: str, into: Path, ref: str | None = None, policy: SourcePolicy = LOCAL) -> Checkout:
    return fetch(GitSource(url, ref), into, policy=policy)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c id", "ext::id", "fd::17", "-u", "--upload-pack=/bin/sh", "ssh://-oProxyCommand=x/r",
        "-oProxyCommand=x:r", "git@-oProxyCommand=x:r", "ssh://-x@host/r", "ftp://host/r",
        "https://host/-r", "https:///r", "https://host:99999/r", "https://[::1/r", "nonsense",
        "https://host/r?x=1", "https://host/r#main", "https://ho st/r", "https://host/r\n", "",
        "https://host/" + "r" * 3000, "transport::https://host/r", "file://elsewhere/r",
    ],
)  # fmt: skip
@pytest.mark.parametrize("policy", [SourcePolicy(), LOCAL])
def test_a_url_that_would_do_more_than_fetch_is_refused(
    url: str, policy: SourcePolicy, tmp_path: Path
) -> None:
    with pytest.raises(GitRefusedError) as caught:
        get(url, tmp_path / "x", policy=policy)
    assert "\n" not in caught.value.detail
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/r", "https://127.0.0.1/r", "https://127.1/r", "https://2130706433/r",
        "https://0x7f.1/r", "https://0/r", "https://[::1]/r", "https://[::ffff:127.0.0.1]/r",
        "https://169.254.169.254/r", "https://10.0.0.1/r", "https://192.168.1.1/r", "https://x.localhost/r",
        "https://[fe80::1]/r", "https://[fd00::1]/r", "https://[64:ff9b::a00:1]/r", "https://100.64.0.1/r",
        "ssh://git@127.0.0.1/r", "git@127.0.0.1:r", "https://localhost./r", "https://224.0.0.1/r",
    ],
)  # fmt: skip
def test_a_host_of_the_servers_own_network_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(GitRefusedError, match="private, loopback or link-local"):
        get(url, tmp_path / "x", policy=SourcePolicy())


def test_the_operator_may_allow_transports_and_hosts(
    repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(GitRefusedError, match="'http' is not allowed here"):
        get(repository.http_url, tmp_path / "x", policy=SourcePolicy())
    with pytest.raises(GitRefusedError, match="'file' is not allowed here"):
        get(str(repository.path), tmp_path / "x", policy=SourcePolicy())
    for number, allowed in enumerate((["127.0.0.1"], ["127.0.0.0/8"])):
        policy = SourcePolicy(
            protocols=frozenset({"http"}), hosts=HostPolicy(allowed=frozenset(allowed))
        )
        assert get(repository.http_url, tmp_path / str(number), policy=policy).commit
    by_name = repository.http_url.replace("127.0.0.1", "localhost")
    policy = SourcePolicy(
        protocols=frozenset({"http"}), hosts=HostPolicy(allowed=frozenset({"localhost"}))
    )
    assert get(by_name, tmp_path / "named", policy=policy).commit


def test_a_redirect_is_not_followed(repository: Repository, tmp_path: Path) -> None:
    target = repository.http_url

    class Redirects(QuietHandler):
        def answer(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{target}/info/refs?service=git-upload-pack")
            self.end_headers()

    with (
        serve(Redirects) as port,
        pytest.raises(GitRefusedError, match="give the URL it redirects"),
    ):
        get(f"http://127.0.0.1:{port}/r", tmp_path / "x")


def test_a_host_that_does_not_answer_is_a_transient_error(tmp_path: Path) -> None:
    for url in (
        "http://127.0.0.1:9/r",
        "http://[::1]:9/r",
        "git://127.0.0.1:9/r",
        "https://no-such-host.invalid/r",
    ):
        with pytest.raises(SourceUnreachableError) as caught:
            get(url, tmp_path / "x")
        assert caught.value.transient
        assert "\n" not in caught.value.detail


def test_a_server_that_hangs_is_left_at_the_time_limit_or_when_cancelled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/r"
        began = time.monotonic()
        with pytest.raises(TimedOutError):
            get(url, tmp_path / "x", policy=replace(LOCAL, timeout_s=0.5))
        with pytest.raises(CancelledError):
            flag = iter([False, False, True])
            get(url, tmp_path / "x", policy=replace(LOCAL, cancelled=lambda: next(flag, True)))
        assert time.monotonic() - began < 5
    assert not (tmp_path / "x").exists()


def test_a_repository_over_a_limit_is_refused_before_its_files_are_written(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("large", {"zeros": bytes(20 << 20)})
    made.commit({"noise": os.urandom(3 << 20)}, ref="noise")
    made.commit({f"f{n}": "" for n in range(50)}, ref="many")
    small = replace(LOCAL, max_bytes=1 << 20, max_files=20)
    for ref in ("main", "noise"):
        with pytest.raises(TooLargeError, match="larger than 1 MiB"):
            get(made.http_url, tmp_path / "x", ref, small)
    with pytest.raises(TooLargeError, match="more than 20 files"):
        get(made.http_url, tmp_path / "x", "many", replace(small, max_bytes=1 << 30))
    assert not (tmp_path / "x").exists()


def test_links_that_lead_outside_become_text_and_others_stay(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("links", {"sub/file": "x"})
    for name, target in {
        "inside": "sub/file", "folder": "sub", "loop": "loop", "dangling": "nope",
        "absolute": "/etc/passwd", "up": "../up", "hidden": "sub/../../y", "through": "absolute",
    }.items():  # fmt: skip
        (made.work_tree / name).symlink_to(target)
    made.commit_all("links")
    steps: list[Step] = []
    into = tmp_path / "x"
    checkout = fetch(GitSource(made.http_url), into, policy=LOCAL, report=steps.append)
    assert (into / "inside").readlink() == Path("sub/file")
    assert (into / "folder" / "file").read_text() == "x"
    for name, target in {"absolute": "/etc/passwd", "up": "../up", "hidden": "sub/../../y"}.items():
        assert not (into / name).is_symlink()
        assert (into / name).read_text() == target
    assert {each.kind for each in steps} == {"log", "warning"}
    assert len(checkout.warnings) == 3
    assert "'absolute' points outside" in checkout.warnings[0]


def test_what_a_repository_configures_is_not_run(git_server: GitServer, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    made = git_server.repository(
        "hostile",
        {
            ".gitattributes": "* filter=evil\n*.big filter=lfs\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {proof}\n',
            "data.big": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            ".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ext::touch proof\n',
            "hooks/post-checkout": f"#!/bin/sh\ntouch {proof}\n",
        },
    )
    get(made.http_url, tmp_path / "x")
    assert not proof.exists()
    assert (tmp_path / "x" / "data.big").read_text().startswith("version https://git-lfs")


def test_the_users_own_git_settings_do_not_count(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "proof"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    (home / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {proof}\n")
    (home / "hooks" / "post-checkout").chmod(0o755)
    (home / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {home}/hooks\n[url "http://127.0.0.1:9/"]\n\tinsteadOf = http://\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(home / "hooks"))
    assert get(repository.http_url, tmp_path / "x").commit
    assert not proof.exists()
