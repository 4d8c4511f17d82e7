"""Folders, archives and inline files, most of them trying to get out of their box."""

from __future__ import annotations

import gzip
import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from builder.errors import (
    BuildError,
    CancelledError,
    InvalidSpecError,
    SourceNotFoundError,
    TooLargeError,
)
from builder.source import (
    ArchiveSource,
    Checkout,
    FilesSource,
    FolderSource,
    Source,
    SourcePolicy,
    fetch,
)

LOCAL = SourcePolicy.local()
Pack = Callable[..., ArchiveSource]


def get(source: Source, into: Path, policy: SourcePolicy = LOCAL) -> Checkout:
    return fetch(source, into, policy=policy)


def tree(root: Path) -> dict[str, bytes | str]:
    """Relative name -> content of a file, target of a link."""
    found: dict[str, bytes | str] = {}
    for folder, folders, files in os.walk(root):
        for name in (*files, *folders):
            path = Path(folder) / name
            if path.is_symlink():
                found[str(path.relative_to(root))] = str(path.readlink())
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_bytes()
    return found


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """`pack((name, type, content or target), …)` writes a tar.gz."""

    def write(*members: tuple[str, bytes, bytes | str], mode: str = "w:gz") -> ArchiveSource:
        path = tmp_path / "upload"
        with tarfile.open(path, mode) as archive:
            for name, kind, content in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                info.mode = 0o4777 if name.endswith(".sh") else 0o666
                if isinstance(content, str):
                    info.linkname = content
                    archive.addfile(info)
                else:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        return ArchiveSource(path)

    return write


def test_inline_files_are_written(tmp_path: Path) -> None:
    checkout = get(FilesSource({"requirements.txt": b"a\n", "sub/./x.py": b"1"}), tmp_path / "x")
    assert tree(checkout.root) == {"requirements.txt": b"a\n", "sub/x.py": b"1"}
    assert (checkout.commit, checkout.size_bytes, checkout.file_count) == (None, 3, 2)


HOSTILE = [
    "/etc/passwd", "../x", "a/../../x", "..", "a/..", "a\\..\\x", "a\nb", "a\0b", ".git/config",
    "sub/.GIT/hooks/x", "x" * 300, "y/" * 3000, "\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_outside_is_refused_by_name(
    tmp_path: Path, pack: Pack, name: str
) -> None:
    sources: list[Source] = [FilesSource({name: b""})]
    if "\0" not in name:
        sources.append(pack((name, tarfile.REGTYPE, b"")))
    for source in sources:
        with pytest.raises(InvalidSpecError) as caught:
            get(source, tmp_path / "x")
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 500 or len(name) > 300
        assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("names", [["a", "a/b"], ["", "x"], ["./"], ["a/"], ["a", "./a"]])
def test_names_that_clash_or_name_no_file_are_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(InvalidSpecError):
        get(FilesSource(dict.fromkeys(names, b"")), tmp_path / "x")


def test_a_folder_is_copied_with_its_links_and_modes(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("x")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o4775)
    (folder / "link").symlink_to("sub/file")
    (folder / "to-folder").symlink_to("sub")
    for left_out in (".git/config", "sub/__pycache__/x.pyc", ".venv/pyvenv.cfg", ".venv/bin/x"):
        (folder / left_out).parent.mkdir(parents=True, exist_ok=True)
        (folder / left_out).write_text("")
    checkout = get(FolderSource(folder), tmp_path / "x")
    assert tree(checkout.root) == {
        "link": "sub/file", "to-folder": "sub", "sub/file": b"x", "run.sh": b"#!/bin/sh\n",
    }  # fmt: skip
    assert stat.S_IMODE((checkout.root / "run.sh").stat().st_mode) & 0o7111 == 0o111
    assert not (checkout.root / "sub" / "file").stat().st_mode & 0o111


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", ".."])
def test_a_link_out_of_a_folder_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "mine"
    (folder / "sub").mkdir(parents=True)
    (folder / "escape").symlink_to(target)
    with pytest.raises(InvalidSpecError, match="'escape' leads outside"):
        get(FolderSource(folder), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_pipes_and_sockets_are_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidSpecError, match="'pipe' is a device, pipe or socket"):
        get(FolderSource(folder), tmp_path / "x")
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "sock"))
        with pytest.raises(InvalidSpecError, match="'sock'"):
            get(FolderSource(folder), tmp_path / "x")


def test_a_folder_or_archive_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="no folder"):
        get(FolderSource(tmp_path / "nope"), tmp_path / "x")
    with pytest.raises(SourceNotFoundError, match="upload it again"):
        get(ArchiveSource(tmp_path / "nope"), tmp_path / "x")


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_is_unpacked(tmp_path: Path, pack: Pack, mode: str) -> None:
    source = pack(
        ("./", tarfile.DIRTYPE, ""),
        ("./link", tarfile.SYMTYPE, "sub/file"),
        ("./sub/file", tarfile.REGTYPE, b"x"),
        ("run.sh", tarfile.REGTYPE, b"#!/bin/sh\n"),
        ("hard", tarfile.LNKTYPE, "sub/file"),
        ("empty", tarfile.DIRTYPE, ""),
        mode=mode,
    )
    checkout = get(source, tmp_path / "x")
    assert tree(checkout.root) == {
        "link": "sub/file", "sub/file": b"x", "run.sh": b"#!/bin/sh\n", "hard": b"x",
    }  # fmt: skip
    assert (checkout.root / "empty").is_dir()
    assert stat.S_IMODE((checkout.root / "run.sh").stat().st_mode) & 0o7111 == 0o111


@pytest.mark.parametrize(
    "members",
    [
        [("escape", tarfile.SYMTYPE, "/etc")],
        [("escape", tarfile.SYMTYPE, "..")],
        [("a", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "../outside")],
        [("out", tarfile.SYMTYPE, ".."), ("out/x", tarfile.REGTYPE, b"gotcha")],
        [("out", tarfile.SYMTYPE, ".."), ("out/x", tarfile.SYMTYPE, "/etc/passwd")],
        [("out", tarfile.SYMTYPE, "/tmp"), ("out/sub", tarfile.DIRTYPE, "")],
        [("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [("hard", tarfile.LNKTYPE, "../outside")],
        [("soft", tarfile.SYMTYPE, "/etc/passwd"), ("hard", tarfile.LNKTYPE, "soft")],
        [("hard", tarfile.LNKTYPE, "later"), ("later", tarfile.REGTYPE, b"")],
        [("dev", tarfile.CHRTYPE, "")],
        [("dev", tarfile.BLKTYPE, "")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("a", tarfile.REGTYPE, b"1"), ("a", tarfile.REGTYPE, b"2")],
        [("a", tarfile.REGTYPE, b"1"), ("a/b", tarfile.REGTYPE, b"2")],
        [(".", tarfile.REGTYPE, b"1")],
    ],
)
def test_an_archive_that_tries_to_get_out_is_refused(
    tmp_path: Path, pack: Pack, members: list[tuple[str, bytes, bytes | str]]
) -> None:
    (tmp_path / "outside").write_text("secret")
    before = tree(tmp_path)
    source = pack(*members)
    with pytest.raises(InvalidSpecError) as caught:
        get(source, tmp_path / "box" / "x")
    assert "\n" not in caught.value.detail
    source.path.unlink()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x1f\x8bnonsense", b"x" * 2000])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(InvalidSpecError, match="damaged or is not a tar"):
        get(ArchiveSource(path), tmp_path / "x")


def test_a_cut_archive_is_refused(tmp_path: Path, pack: Pack) -> None:
    source = pack(("a", tarfile.REGTYPE, os.urandom(100_000)))
    source.path.write_bytes(source.path.read_bytes()[:50_000])
    with pytest.raises(InvalidSpecError, match="damaged"):
        get(source, tmp_path / "x")


def test_limits_hold_for_what_is_unpacked(tmp_path: Path, pack: Pack) -> None:
    small = replace(LOCAL, max_bytes=1 << 20, max_files=10)
    zeros = pack(("zeros", tarfile.REGTYPE, bytes(30 << 20)))
    assert zeros.path.stat().st_size < 100_000
    with pytest.raises(TooLargeError, match="archive is larger than 1 MiB"):
        get(zeros, tmp_path / "x", small)
    with pytest.raises(TooLargeError, match="archive holds more than 10 files"):
        get(pack(*((f"d{n}", tarfile.DIRTYPE, "") for n in range(20))), tmp_path / "x", small)
    with pytest.raises(TooLargeError, match="request is larger"):
        get(FilesSource({"a": bytes(1 << 20), "b": b"x"}), tmp_path / "x", small)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sparse").open("wb").truncate(1 << 40)
    with pytest.raises(TooLargeError, match="folder is larger"):
        get(FolderSource(tmp_path / "mine"), tmp_path / "x", small)
    assert not (tmp_path / "x").exists()


def test_a_giant_header_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = 1 << 33
    path = tmp_path / "upload"
    with gzip.open(path, "wb") as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        out.write(bytes(1 << 20))
    with pytest.raises(TooLargeError, match="oversized header"):
        get(ArchiveSource(path), tmp_path / "x")


def test_reading_files_can_be_cancelled(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        get(FilesSource({"a": b""}), tmp_path / "x", replace(LOCAL, cancelled=lambda: True))
    assert not (tmp_path / "x").exists()


NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "/", "\\", ".git", "é", "\u202e", "c.txt", " "]),
    min_size=1, max_size=5,
).map("/".join)  # fmt: skip


@given(
    members=st.lists(
        st.tuples(
            NAMES,
            st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE]),
            NAMES,
        ),
        max_size=6,
    )
)
@example(members=[("a", tarfile.SYMTYPE, "b"), ("b", tarfile.SYMTYPE, "a")])
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_archive_writes_or_points_outside_its_folder(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[str, bytes, str]]
) -> None:
    top = tmp_path_factory.mktemp("box")
    path = top / "upload"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = target if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info)
    into = top / "x"
    try:
        get(ArchiveSource(path), into)
    except BuildError as error:
        assert "\n" not in error.detail
        assert not into.exists()
    else:
        for folder, folders, files in os.walk(into):
            for name in (*folders, *files):
                place = Path(folder) / name
                loops = place.is_symlink() and not place.exists()
                assert loops or place.resolve().is_relative_to(into)
    assert sorted(each.name for each in top.iterdir()) in (["upload"], ["upload", "x"])
