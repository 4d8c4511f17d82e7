"""The files that a command line means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = frozenset((".yaml", ".yml", ".json", ".ipynb", ".pipeline"))


def expand(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """Files as they are; a folder stands for every file under it with one of SUFFIXES.

    In each folder files come sorted, before those of its folders; hidden files and folders are
    left out, and links to folders are not followed. Raises FileNotFoundError for a path that does
    not exist.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"{path} does not exist")
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                    yield Path(folder) / name
