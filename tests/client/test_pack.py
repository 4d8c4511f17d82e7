"""What of a folder is sent, and that the same files always make the same archive."""

from __future__ import annotations

import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest

from kitbag import PackError, pack
from kitbag.pack import listing, packed


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    allowed = ("-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *allowed, *arguments], cwd=folder, check=True, timeout=60)


def archive(folder: Path) -> bytes:
    with packed(folder, listing(folder).names) as out:
        return out.read()


def test_every_file_of_a_plain_folder_is_sent_but_caches_and_version_control(tmp_path):
    write(
        tmp_path,
        {
            "requirements.txt": "numpy\n",
            ".binder/apt.txt": "git\n",
            "src/deep/a.py": "",
            ".hg/store": "x",
            "src/__pycache__/a.pyc": "x",
            ".ipynb_checkpoints/n.ipynb": "x",
            "venv/pyvenv.cfg": "home = /usr",
            "venv/lib/x.py": "x",
        },
    )
    assert listing(tmp_path).names == (".binder/apt.txt", "requirements.txt", "src/deep/a.py")


def test_a_checkout_sends_what_git_tracks_and_what_is_new_but_nothing_that_is_ignored(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": ".env\ndata/\n", "tracked.py": "1", "gone.py": "2"})
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    (tmp_path / "gone.py").unlink()
    write(tmp_path, {"new.py": "3", ".env": "TOKEN=secret", "data/big.bin": "x"})
    assert listing(tmp_path).names == (".gitignore", "new.py", "tracked.py")


def test_a_folder_inside_a_checkout_is_named_from_itself(tmp_path):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "*.log\n", "other.py": "", "work/a.py": "", "work/a.log": ""})
    assert listing(tmp_path / "work").names == ("a.py",)


def test_the_files_of_a_submodule_are_sent_too(tmp_path):
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    for folder in (inner, outer):
        folder.mkdir()
        git(folder, "init", "-q")
    write(inner, {"lib.py": "1"})
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "first")
    git(outer, "submodule", "--quiet", "add", str(inner), "libs/inner")
    assert listing(outer).names == (".gitmodules", "libs/inner/lib.py")


def test_a_checkout_that_git_refuses_to_read_is_not_sent_with_its_secrets(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": ".env\n", ".env": "TOKEN=secret"})
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PackError, match=r"git can't list the files .* secrets"):
        listing(tmp_path)


def test_the_same_files_give_the_same_archive_whatever_their_age_owner_and_order(tmp_path):
    files = {f"d{number % 3}/f{number}.txt": str(number) for number in range(40)}
    names = list(files)
    archives = set()
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        random.Random(attempt).shuffle(names)
        write(folder, {name: files[name] for name in names})
        for name in names:
            os.utime(folder / name, (attempt * 1000, attempt * 1000))
        os.umask(os.umask(0o022))
        (folder / names[0]).chmod(0o600 if attempt else 0o664)
        archives.add(archive(folder))
    assert len(archives) == 1


def test_executable_bits_and_links_inside_the_folder_are_kept(tmp_path):
    write(tmp_path, {"postBuild": "#!/bin/sh\n", "a/real.txt": "x"})
    (tmp_path / "postBuild").chmod(0o755)
    (tmp_path / "a/link").symlink_to("real.txt")
    with packed(tmp_path, listing(tmp_path).names) as out, tarfile.open(fileobj=out) as tar:
        members = {member.name: member for member in tar}
        assert members["postBuild"].mode == 0o755
        assert members["a/real.txt"].mode == 0o644
        assert members["a/link"].linkname == "real.txt"
        assert {(member.uid, member.gid, member.mtime) for member in tar} == {(0, 0, 0)}
    assert list(members) == sorted(members)


def test_links_that_leave_the_folder_and_pipes_are_left_out_with_a_reason(tmp_path):
    folder = write(tmp_path / "repo", {"requirements.txt": ""})
    (folder / "data").symlink_to("/etc")
    (folder / "up").symlink_to("../elsewhere")
    os.mkfifo(folder / "pipe")
    found = listing(folder)
    assert found.names == ("requirements.txt",)
    assert [entry.split(" (")[0] for entry in found.left_out] == ["data", "pipe", "up"]
    assert "outside the folder" in found.left_out[0]


def test_a_folder_over_the_limit_is_refused_with_its_largest_files(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MAX_ARCHIVE_BYTES", 1 << 20)
    (tmp_path / "events.root").write_bytes(random.Random(1).randbytes(3 << 20))
    write(tmp_path, {"requirements.txt": "numpy"})
    with pytest.raises(PackError, match=r"over 1 MiB when packed, largest are events.root \(3 MiB"):
        archive(tmp_path)


def test_a_folder_with_too_many_files_is_refused_with_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MAX_FILES", 20)
    write(tmp_path, {f"shots/{number}.png": "" for number in range(30)})
    with pytest.raises(PackError, match=r"more than 20 files, most of them in shots"):
        listing(tmp_path)
