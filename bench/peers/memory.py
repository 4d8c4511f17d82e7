"""How large the processes of a service get, the short-lived ones too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EVERY_S = 0.1


class Peaks:
    """The largest resident set in bytes that each kind of process reached, by what it runs."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    def take(self, pid: int) -> None:
        """Look at the process's descendants; the kernel remembers each one's highest (VmHWM)."""
        for child in descendants(pid):
            try:
                command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                status = Path(f"/proc/{child}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "VmHWM:" in status:  # what has ended has none
                size = int(status.split("VmHWM:")[1].split()[0]) * 1024
                kind = _kind(command)
                self._bytes[kind] = max(size, self._bytes.get(kind, 0))

    @property
    def megabytes(self) -> dict[str, float]:
        """By kind: `worker`, `api`, `uv`, `compiler.py` and so on."""
        return {kind: size / 1e6 for kind, size in sorted(self._bytes.items())}


def descendants(pid: int) -> list[int]:
    """The process's children, theirs, and so on."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children += map(int, task.read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return children + [deeper for child in children for deeper in descendants(child)]


@contextmanager
def watched(pid: int) -> Iterator[Peaks]:
    """Peaks of the process's descendants for as long as the context lasts."""
    peaks, ended = Peaks(), threading.Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            peaks.take(pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()
        peaks.take(pid)


def _kind(command: list[bytes]) -> str:
    """`worker` of `python -m server worker --held`, else the name of the script or program."""
    words = [word.decode(errors="replace") for word in command if word]
    if "server" in words[:-1]:
        return words[words.index("server") + 1]
    scripts = (word for word in words if word.endswith(".py"))
    return Path(next(scripts, words[0] if words else "?")).name
