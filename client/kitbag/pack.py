"""Pack a local folder into the archive that the server builds from.

What goes along: in a git checkout what git tracks plus what is new and not ignored; elsewhere
every file but version-control data, virtual environments and caches. The same files give the same
archive, whatever their owner, age and order on disk.
"""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kitbag.errors import PackError

MAX_FILES = 10_000
MAX_ARCHIVE_BYTES = 64 * 1024 * 1024

_VCS = frozenset({".git", ".hg", ".svn", ".bzr", "_darcs", "CVS"})
_LEFT_OUT = _VCS | {"__pycache__", ".ipynb_checkpoints"}
_NAMED = 3


@dataclass(frozen=True)
class Listing:
    """Relative names of files and links, sorted; `left_out` says which can't go along, and why."""

    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def listing(folder: Path) -> Listing:
    """What of this folder is sent; PackError if it is too much or git can't say what it tracks."""
    names: list[str] = []
    left_out: list[str] = []
    counted: Counter[str] = Counter()
    found = _tracked(folder) if _in_checkout(folder) else _walked(folder, "")
    for name in found:
        reason = _unfit(folder, name)
        if reason:
            left_out.append(f"{name} ({reason})")
            continue
        names.append(name)
        counted[name.partition("/")[0]] += 1
        if len(names) > MAX_FILES:
            raise PackError(
                f"{folder} holds more than {MAX_FILES:,} files, most of them in"
                f" {_most(counted, '{:,} files')}: build a folder with less in it"
            )
    return Listing(tuple(sorted(names)), tuple(sorted(left_out)))


@contextmanager
def packed(folder: Path, names: Sequence[str]) -> Iterator[IO[bytes]]:
    """A tar.gz of these files of the folder, open at its start and gone afterwards.

    PackError if it comes out larger than the server takes, or a file can't be read.
    """
    with tempfile.TemporaryFile(prefix="kitbag-") as out:
        limited = _Limited(out, MAX_ARCHIVE_BYTES)
        try:
            # Level 1: uploads are over loopback or a site's network, faster than a harder squeeze.
            with (
                gzip.GzipFile("", "wb", compresslevel=1, fileobj=limited, mtime=0) as plain,
                tarfile.open(fileobj=plain, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                for name in names:
                    _add(archive, folder, name)
        except _OverLimitError as error:
            raise _too_large(folder, names) from error
        out.seek(0)
        yield out


class _OverLimitError(Exception):
    """More was written than may be."""


class _Limited:
    """A file that takes bytes until there are too many."""

    def __init__(self, out: IO[bytes], limit_bytes: int) -> None:
        self._out = out
        self._left = limit_bytes

    def write(self, data: bytes) -> int:
        self._left -= len(data)
        if self._left < 0:
            raise _OverLimitError
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()


def _add(archive: tarfile.TarFile, folder: Path, name: str) -> None:
    path = folder / name
    entry = tarfile.TarInfo(name)
    try:
        if path.is_symlink():
            entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
            entry.mode = 0o777
            archive.addfile(entry)
            return
        with path.open("rb") as data:
            status = os.fstat(data.fileno())
            entry.size = status.st_size
            entry.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
            archive.addfile(entry, data)
    except OSError as error:
        # tarfile says only "unexpected end of data" where a file shrank while it was read.
        reason = error.strerror or "it changed while it was read"
        raise PackError(f"{path} can't be packed: {reason}") from error


def _in_checkout(folder: Path) -> bool:
    here = folder.resolve()
    return any((place / ".git").exists() for place in (here, *here.parents))


def _tracked(folder: Path) -> Iterator[str]:
    """What git tracks below this folder plus what is new and not ignored; submodules included."""
    command = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
        lines = said.decode(errors="replace").strip().splitlines() if said else ["git is missing"]
        raise PackError(
            f"git can't list the files of {folder} ({lines[0]}), and without it ignored files such"
            " as secrets would be sent too: repair that, or build a copy outside of the checkout"
        ) from error
    seen = set[str]()
    for name in os.fsdecode(done.stdout).split("\0"):
        # A file in conflict is listed once a side.
        if not name or name in seen:
            continue
        seen.add(name)
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            # A submodule, or a checkout that git doesn't look into.
            inner = name.rstrip("/")
            below = _tracked(path) if (path / ".git").exists() else _walked(folder, inner)
            prefix = f"{inner}/" if (path / ".git").exists() else ""
            yield from (prefix + deeper for deeper in below)
        elif os.path.lexists(path):
            yield name


def _walked(folder: Path, below: str) -> Iterator[str]:
    try:
        with os.scandir(folder / below) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise PackError(f"{folder / below} can't be read: {error.strerror}") from error
    for entry in entries:
        name = f"{below}/{entry.name}" if below else entry.name
        if entry.name in _LEFT_OUT:
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield name
        elif not (Path(entry.path) / "pyvenv.cfg").is_file():
            yield from _walked(folder, name)


def _unfit(folder: Path, name: str) -> str | None:
    """Why the server would refuse this entry, None if it takes it."""
    path = folder / name
    if path.is_symlink():
        if path.readlink().is_absolute() or not _leads_inside(path, folder):
            return "it links to a place outside the folder"
        return None
    return None if path.is_file() else "it is no file, folder or link"


def _leads_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        # A loop of links leads nowhere, and so not outside either.
        return True


def _too_large(folder: Path, names: Sequence[str]) -> PackError:
    sizes = Counter({name: (folder / name).lstat().st_size >> 20 for name in names})
    return PackError(
        f"{folder} is over {MAX_ARCHIVE_BYTES >> 20} MiB when packed, largest are"
        f" {_most(sizes, '{:,} MiB')}: keep data out of it, or list it in .gitignore"
    )


def _most(counted: Counter[str], form: str) -> str:
    return ", ".join(f"{name} ({form.format(n)})" for name, n in counted.most_common(_NAMED))
