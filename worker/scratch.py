"""Folders for temporary files: each belongs to one process and goes when that one is dead."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "process-"


class Scratch:
    """A new folder in `root`, held by a file lock that ends with this process, however it ends."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            self.path = Path(tempfile.mkdtemp(dir=root, prefix=_PREFIX))
            lock = _locked(self.path)
            if lock is not None:
                break  # else somebody who cleans up came between, and it is gone
        self._lock = lock

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_dead(root: Path) -> int:
    """Remove the folders in `root` whose process has died; returns how many."""
    removed = 0
    for folder in root.glob(f"{_PREFIX}*"):
        lock = _locked(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            removed += 1
    return removed


def remove_older(folder: Path, than: float, pattern: str = "*") -> None:
    """Remove entries not changed since `than`, in seconds since the epoch, and only our own."""
    for path in folder.glob(pattern):
        try:
            status = path.lstat()
            if status.st_mtime >= than or status.st_uid != os.getuid():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock, or None if another has it or the folder is gone.

    flock and not lockf: a process must not take its own folder for one that nobody holds.
    """
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None
