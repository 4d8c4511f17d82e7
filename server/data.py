"""The folder of an embedded server, which one server at a time works in."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from server.errors import DataInUseError, DataRefusedError


def hook_key(data: Path) -> str:
    """What the secrets of this server's webhooks are made from, made once for the folder."""
    path = data / "hook.key"
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text()


@contextmanager
def claimed(data: Path) -> Iterator[None]:
    """Make the folder and hold its lock; raises DataInUseError and DataRefusedError."""
    try:
        for folder in ("logs", "valkey"):
            (data / folder).mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("a+")
    except OSError as error:
        raise DataRefusedError(
            f"{error.filename or data} can't be written ({error.strerror}); "
            "give a folder of your own with --data."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read(20).strip()
            raise DataInUseError(
                f"{data} is in use by another kitbag-server"
                f"{f' (process {holder})' if holder else ''}; "
                "stop that one, or give another folder with --data."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
