"""Finished layers of single wheels on the worker's disk, made once by whoever comes first."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO

from builder.errors import DiskFullError
from builder.layers import zst
from builder.layers.archive import GID, UID, Written

LAYOUT = 4
"""Version of everything that decides a layer's bytes; one more whenever any of them changes."""

_SUFFIX = ".layer"
_PREFIX = ".new-"
_WAIT_S = 0.05
_ABANDONED_S = 24 * 3600
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Recipe:
    """What, beside the wheels themselves, decides a layer's bytes."""

    prefix: str
    python: str
    compiler: str | None
    packer: str | None = None
    """What packs the spliced layer again, such as zstd-1.5.7; None for gzip as it is spliced."""

    @property
    def spliced(self) -> Recipe:
        """The recipe of the gzip layers that this one packs again."""
        return replace(self, packer=None)

    def key(self, *wheel_sha256: str) -> str:
        """The layer key of these wheels in this order, in hex."""
        own = (self.prefix, self.python, self.compiler, UID, GID)
        packed = ((self.packer, zst.LEVEL, zst.FRAME_BYTES),) if self.packer else ()
        parts = [LAYOUT, *packed, *own, *wheel_sha256]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class LayerCache:
    """A folder of layer files, each beside a small JSON file that says what is in it.

    Safe for threads and processes: an entry is renamed into place when it is whole, and a file lock
    lets one process make it while the others wait.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the layer file of that key is, or would be."""
        return self._root / key[:2] / f"{key}{_SUFFIX}"

    def get(self, key: str) -> Written | None:
        """What is known of a layer on disk, or None if it isn't there whole."""
        path = self.path(key)
        try:
            facts = json.loads(path.with_suffix(".json").read_text())
            lists = {name: tuple(facts[name]) for name in ("files", "folders")}
            known = Written(**facts | lists)
            if path.stat().st_size != known.size_bytes:  # cut short when the machine went down
                return None
            os.utime(path)  # the least recently used go first when the cache is trimmed
        except (FileNotFoundError, KeyError, ValueError, TypeError):
            return None
        return known

    def make(
        self,
        key: str,
        write: Callable[[BinaryIO], Written],
        check: Callable[[], None] = lambda: None,
    ) -> Written:
        """The layer of that key, written by `write` unless it is there; raises DiskFullError.

        `check` is called while somebody else writes it, and may raise to stop waiting.
        """
        with disk_full(self._root), self._locked(key, check):
            known = self.get(key)
            if known is not None:
                return known
            path = self.path(key)
            with temporary(path.parent) as file:
                known = write(file)
                file.flush()
                Path(file.name).chmod(0o444)  # never changed again: a layout may link to it
                Path(file.name).rename(path)
            with temporary(path.parent) as file:
                file.write(json.dumps(asdict(known)).encode())
                file.flush()
                Path(file.name).rename(path.with_suffix(".json"))
            return known

    def trim(self, max_bytes: int, *, dry_run: bool = False) -> int:
        """Remove the least recently used layers until the rest fit; returns the bytes freed.

        A dry run only counts. What a running build needs was used moments ago, so it goes last.
        """
        if not dry_run:
            for folder in self._root.iterdir():
                remove_abandoned(folder)
        entries = []
        for path in self._root.glob(f"*/*{_SUFFIX}"):
            with suppress(FileNotFoundError):
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path))
        entries.sort()
        excess = sum(size for _, size, _ in entries) - max_bytes
        freed = 0
        for _, size, path in entries:
            if freed >= excess:
                break
            if not dry_run:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            freed += size
        return freed

    @contextmanager
    def _locked(self, key: str, check: Callable[[], None]) -> Iterator[None]:
        """Only one at a time holds the lock of a key; it ends with the process that has it."""
        path = self.path(key).with_suffix(".lock")
        path.parent.mkdir(exist_ok=True)
        while True:
            with path.open("w") as lock:
                while not _try_lock(lock):
                    check()
                    time.sleep(_WAIT_S)
                if not _is_at(lock, path):
                    continue  # its holder has removed it meanwhile, and others lock a new one
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left half-written a day ago or earlier."""
    for path in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                path.unlink()


@contextmanager
def temporary(folder: Path) -> Iterator[BinaryIO]:
    """A new file in `folder`, readable and writable; gone at the end unless it was renamed."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=_PREFIX, delete=False) as file:
        try:
            yield file  # type: ignore[misc]
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def disk_full(folder: Path) -> Iterator[None]:
    """Turns the system's "no space left" into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFullError(
                f"No space is left on the disk of {folder.name!r}; the operator must free some "
                "(KITBAG_CACHE_MAX_BYTES limits the cache), then build again."
            ) from error
        raise
