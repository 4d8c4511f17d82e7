"""A disk that is soon full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rig.process import MissingPartError, temp_dir


@contextmanager
def disk_factory() -> Iterator[Callable[[int], Path]]:
    """A function that mounts a file system of so many bytes and returns its folder."""
    if os.geteuid() != 0:
        raise MissingPartError("a disk of its own can't be mounted: run the tests as root")
    with ExitStack() as stack:

        def make(size_bytes: int) -> Path:
            folder = stack.enter_context(temp_dir("disk"))
            options = f"size={size_bytes},mode=0755"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
            stack.callback(_unmount, folder)
            return folder

        yield make


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)
