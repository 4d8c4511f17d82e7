"""A part that is ready to begin waits for the word: it imports while its parent migrates."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from server.errors import HeldError


@dataclass(frozen=True, slots=True)
class Gate:
    """A pipe that held parts have as their stdin; one byte for each lets it go on."""

    parts_end: int
    own_end: int

    def open(self, parts: int) -> None:
        """Let so many parts go on; one that has died by now is its watcher's to find."""
        with suppress(BrokenPipeError):
            os.write(self.own_end, b"\n" * parts)


@contextmanager
def gate() -> Iterator[Gate]:
    """A closed gate; parts that are still held when the block ends give up."""
    parts_end, own_end = os.pipe()
    try:
        yield Gate(parts_end, own_end)
    finally:
        os.close(own_end)
        os.close(parts_end)


def hold(module: str) -> None:
    """Import what takes long and wait for the parent's word; HeldError if it ended without."""
    import_module(module)
    word = os.read(sys.stdin.fileno(), 1)
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    if not word:
        raise HeldError("What started this part ended before the catalog was ready; start it anew.")
