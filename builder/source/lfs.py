"""Pointers of Git LFS: which files of a checkout only stand for others.

The format is that of https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import InvalidSpecError
from builder.source.gitcommand import Git
from builder.source.names import shown

# A file may be longer only if it is no pointer.
MAX_POINTER_BYTES = 1023
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"(?P<extensions>(?:ext-[^\n]+\n)*)"
    rb"oid sha256:(?P<sha256>[0-9a-f]{64})\nsize (?P<size>[0-9]{1,18})\n?"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """A file, by its path in its repository, and what it stands for."""

    path: str
    sha256: str
    size_bytes: int


def pointers(git: Git, root: Path) -> list[Pointer]:
    """The pointers among the files of a checkout that attributes give to LFS, by path.

    What has the attribute and is no pointer stays as it is, as with git's own client. Raises
    InvalidSpecError for a pointer with extensions, which only programs of its author's undo.
    """
    listed = git.must(
        "--work-tree", str(root), "ls-files", "--stage", "-z", "--", ":(attr:filter=lfs)"
    )
    found = []
    for entry in listed.split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        if not facts.startswith(b"100"):
            continue  # links, and the end of the list
        path = os.fsdecode(name)
        match = _POINTER.fullmatch(_beginning(root / path))
        if match is None:
            continue
        if match["extensions"]:
            raise InvalidSpecError(
                f"The file '{shown(path)}' is in Git LFS with an extension, which can't be undone "
                "here; store it without.",
                file=shown(path),
            )
        found.append(Pointer(path, match["sha256"].decode(), int(match["size"])))
    return found


def _beginning(path: Path) -> bytes:
    """As much of a file as tells whether it is a pointer."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return file.read(MAX_POINTER_BYTES + 1)
