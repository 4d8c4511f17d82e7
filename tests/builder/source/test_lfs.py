"""Files of Git LFS over real git and the batch API: fetched when asked for, checked, limited."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rig.git import TOKEN, USER, GitServer, Repository
from rig.lfs import pointer
from rig.ssh import SshServer

from builder.errors import (
    GitRefusedError,
    SourceNotFoundError,
    SourceUnreachableError,
    TooLargeError,
)
from builder.source import Checkout, GitSource, HostPolicy, SourcePolicy, fetch

LOCAL = SourcePolicy.local()
ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
NUMBERS = itertools.count()


def get(url: str, into: Path, policy: SourcePolicy = LOCAL, *, lfs: bool = True) -> Checkout:
    return fetch(GitSource(url, lfs=lfs), into, policy=policy)


def stored(
    git_server: GitServer, files: dict[str, bytes], name: str = "data", **more: str
) -> Repository:
    """A repository whose .bin files are pointers to what the LFS server has."""
    pointers = {path: git_server.lfs.put(content) for path, content in files.items()}
    return git_server.repository(
        f"{name}-{next(NUMBERS)}", {".gitattributes": ATTRIBUTES, **pointers, **more}
    )


def asked_since(git_server: GitServer, before: int) -> list[tuple[str, str, str | None]]:
    return git_server.lfs.asked[before:]


def test_pointers_become_what_they_stand_for_each_object_fetched_once(
    git_server: GitServer, tmp_path: Path
) -> None:
    large = bytes(range(256)) * 4096
    made = stored(git_server, {"a/large.bin": large, "same.bin": large, "empty.bin": b""})
    before = len(git_server.lfs.asked)
    checkout = get(made.http_url, tmp_path / "x")
    assert (tmp_path / "x/a/large.bin").read_bytes() == large
    assert (tmp_path / "x/same.bin").read_bytes() == large
    assert (tmp_path / "x/empty.bin").read_bytes() == b""
    assert checkout.warnings == ()
    assert checkout.size_bytes > 2 * len(large)
    fetched = [path for method, path, _ in asked_since(git_server, before) if method == "GET"]
    assert len(fetched) == len(set(fetched)) == 2


def test_a_file_that_only_looks_like_a_pointer_stays_as_it_is(
    git_server: GitServer, tmp_path: Path
) -> None:
    text = git_server.lfs.put(b"never asked for")
    made = stored(git_server, {"real.bin": b"real"}, **{"notes.txt": text, "odd.bin": "plain"})
    get(made.http_url, tmp_path / "x")
    assert (tmp_path / "x/notes.txt").read_text() == text
    assert (tmp_path / "x/odd.bin").read_text() == "plain"
    assert (tmp_path / "x/real.bin").read_bytes() == b"real"


def test_what_is_not_asked_for_stays_a_pointer_and_is_named(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = stored(git_server, {"model.bin": b"weights"})
    before = len(git_server.lfs.asked)
    checkout = get(made.http_url, tmp_path / "x", lfs=False)
    assert checkout.warnings == (
        "'model.bin' is a pointer of Git LFS instead of data: ask for that with --lfs.",
    )
    assert asked_since(git_server, before) == []
    assert (tmp_path / "x/model.bin").read_text().startswith("version https://git-lfs")


def test_the_server_of_a_private_repository_is_shown_its_login(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = stored(git_server, {"secret.bin": b"hidden"}, name="private/data")
    before = len(git_server.lfs.asked)
    get(made.http_url, tmp_path / "x", replace(LOCAL, login=(USER, TOKEN)))
    assert (tmp_path / "x/secret.bin").read_bytes() == b"hidden"
    batch = asked_since(git_server, before)[0]
    assert batch[2] is not None and batch[2].startswith("Basic ")


def test_another_server_is_never_shown_the_login(
    git_server: GitServer, make_other: GitServer, tmp_path: Path
) -> None:
    text = make_other.lfs.put(b"elsewhere")
    elsewhere = make_other.repository("any").http_url + "/info/lfs"
    made = git_server.repository(
        f"private/points-{next(NUMBERS)}",
        {
            ".gitattributes": ATTRIBUTES,
            "x.bin": text,
            ".lfsconfig": f"[lfs]\n\turl = {elsewhere}\n",
        },
    )
    get(made.http_url, tmp_path / "x", replace(LOCAL, login=(USER, TOKEN)))
    assert (tmp_path / "x/x.bin").read_bytes() == b"elsewhere"
    assert {shown for _, _, shown in make_other.lfs.asked} == {None}


@pytest.fixture
def make_other() -> object:
    from rig.git import git_server as start

    with start() as other:
        yield other


def test_a_server_that_sends_other_bytes_is_not_believed(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = stored(git_server, {"model.bin": b"the right weights"})
    (oid,) = (key for key, value in git_server.lfs.objects.items() if value == b"the right weights")
    git_server.lfs.objects[oid] = b"the wrong weights"
    with pytest.raises(SourceUnreachableError, match=r"sent another file for 'model\.bin'"):
        get(made.http_url, tmp_path / "x")
    git_server.lfs.objects[oid] = b"the right weights and more and more"
    with pytest.raises(SourceUnreachableError, match="sent more than it should"):
        get(made.http_url, tmp_path / "y")


def test_an_object_that_was_never_pushed_is_named_with_what_to_do(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = stored(git_server, {"gone.bin": b"gone with its disk"})
    (oid,) = (k for k, value in git_server.lfs.objects.items() if value == b"gone with its disk")
    del git_server.lfs.objects[oid]
    with pytest.raises(SourceNotFoundError, match=r"'gone\.bin' stands for; push it with"):
        get(made.http_url, tmp_path / "x")


def test_five_gigabytes_are_refused_before_anything_is_asked_for(
    git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository(
        f"big-{next(NUMBERS)}",
        {".gitattributes": ATTRIBUTES, "big.bin": pointer("0" * 64, 5 << 30)},
    )
    before = len(git_server.lfs.asked)
    with pytest.raises(TooLargeError, match=r"With the LFS file 'big\.bin' of 5(\.0)? GiB"):
        get(made.http_url, tmp_path / "x")
    assert asked_since(git_server, before) == []


@pytest.mark.parametrize("url", ["http://169.254.169.254/lfs", "file:///etc/passwd", "http://[::1"])
def test_a_server_that_the_policy_forbids_is_not_asked(
    git_server: GitServer, tmp_path: Path, url: str
) -> None:
    made = stored(
        git_server, {"a.bin": b"a"}, **{".lfsconfig": f"[lfs]\n\turl = {url}\n"}
    )  # fmt: skip
    policy = replace(LOCAL, hosts=HostPolicy(allowed=frozenset({"127.0.0.1"})))
    with pytest.raises(GitRefusedError):
        get(made.http_url, tmp_path / "x", policy)


def test_submodules_bring_their_own_lfs_files(git_server: GitServer, tmp_path: Path) -> None:
    inner = stored(git_server, {"deep.bin": b"deep data"}, name="inner-lfs")
    outer = git_server.repository(f"outer-lfs-{next(NUMBERS)}", {"a": "b"})
    outer.add_submodule("lib", inner.head, f"../{inner.path.name}")
    outer.commit_index()
    source = GitSource(outer.http_url, submodules=True, lfs=True)
    fetch(source, tmp_path / "x", policy=LOCAL)
    assert (tmp_path / "x/lib/deep.bin").read_bytes() == b"deep data"


def test_over_ssh_the_host_tells_where_its_server_is_and_what_it_is_shown(
    git_server: GitServer, ssh_server: SshServer, tmp_path: Path
) -> None:
    made = stored(git_server, {"weights.bin": b"weights by ssh"}, name="private/by-ssh")
    login = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
    told = {
        "href": f"{made.http_url}/info/lfs",
        "header": {"Authorization": f"Basic {login}", "Host": "elsewhere.example"},
        "expires_in": 60,
    }
    arguments = tmp_path / "arguments"
    program = ssh_server.programs / "git-lfs-authenticate"
    program.write_text(f"#!/bin/sh\necho \"$@\" >{arguments}\necho '{json.dumps(told)}'\n")
    program.chmod(0o755)
    policy = replace(LOCAL, ssh_key=ssh_server.key)
    get(ssh_server.url(made.path), tmp_path / "x", policy)
    assert (tmp_path / "x/weights.bin").read_bytes() == b"weights by ssh"
    assert arguments.read_text().split() == [str(made.path), "download"]
    program.write_text("#!/bin/sh\necho nothing of the kind\n")
    with pytest.raises(SourceUnreachableError, match="did not tell where its LFS server is"):
        get(ssh_server.url(made.path), tmp_path / "y", policy)
    program.unlink()
    with pytest.raises(SourceUnreachableError, match="did not answer"):
        get(ssh_server.url(made.path), tmp_path / "z", policy)
