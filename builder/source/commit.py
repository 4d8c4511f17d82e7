"""What is in a commit, before any of it is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISDIR

from builder.errors import TooLargeError
from builder.source.gitcommand import Git
from builder.source.names import Meter
from builder.source.process import MAX_OUTPUT_BYTES

_SUBMODULE = b"160000"


@dataclass(frozen=True, slots=True)
class Tree:
    """A commit's submodules, path to commit, and whether it gives its files attributes."""

    submodules: Mapping[str, str]
    has_attributes: bool


def weigh(git: Git, commit: str, meter: Meter) -> Tree:
    """Count and add up the files before any is written: packs hide what they unpack to."""
    listed = git.must("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
    if len(listed) >= MAX_OUTPUT_BYTES:
        raise TooLargeError("The list of the repository's files is too long; build a smaller one.")
    submodules, has_attributes = {}, False
    for entry in listed.split(b"\0"):
        if not entry:
            continue
        facts, _, name = entry.partition(b"\t")
        mode, _, object_id, size = facts.split()
        meter.file()
        meter.add(int(size) if size.isdigit() else 0)
        if mode == _SUBMODULE:
            submodules[os.fsdecode(name)] = object_id.decode()
        elif name.rpartition(b"/")[2] == b".gitattributes":
            has_attributes = True
    return Tree(submodules, has_attributes)


def is_folder(root: Path, path: PurePosixPath) -> bool:
    """Whether `path` below `root` is a folder that no link leads to."""
    place = root
    for part in path.parts:
        place = place / part
        try:
            if not S_ISDIR(place.lstat().st_mode):
                return False
        except OSError:
            return False
    return True
