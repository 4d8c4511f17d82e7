"""The layer of a repository's files, the same bytes for the same files, and what starts them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from builder.layers import archive
from builder.skeleton import HOME, OWN

REPO_DIR = "/srv/repo"
START = f"{OWN}/binder"
LEFT_PATH = f"{OWN}/left.txt"
"""The lines that pip installs in a container, since no wheel of them is to be had."""

# OpenShift runs images as a user of its own in the group 0, who must be able to write.
_GROUP = 0
_FILES = Path(__file__).with_name("files")


def write(
    out: BinaryIO, top: Path, executable: frozenset[str], left: tuple[str, ...]
) -> archive.Written:
    """The files below `top` in REPO_DIR, the script that starts the image, and LEFT_PATH.

    `executable` are names below `top` that get that bit whatever the repository says. Links stay
    links: fetching made sure that none leads outside.
    """
    writer = archive.LayerWriter(out)
    writer.mark()
    writer.folder(OWN.strip("/"), uid=0, gid=0)
    writer.file(START.strip("/"), (_FILES / "binder").read_bytes(), 0o755, uid=0, gid=0)
    if left:
        writer.file(LEFT_PATH.strip("/"), "".join(f"{line}\n" for line in left).encode())
    writer.folder("home", uid=0, gid=0)
    writer.folder(HOME.strip("/"), gid=_GROUP, mode=0o775)
    writer.folder("srv", uid=0, gid=0)
    root = REPO_DIR.strip("/")
    writer.folder(root, gid=_GROUP, mode=0o775)
    for path, name in _walk(top, ""):
        place = f"{root}/{name}"
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            writer.link(place, str(path.readlink()), gid=_GROUP)
        elif stat.S_ISDIR(status.st_mode):
            writer.folder(place, gid=_GROUP, mode=0o775)
        else:
            runs = bool(status.st_mode & stat.S_IXUSR) or name in executable
            with path.open("rb") as data:
                writer.stream(
                    place, data, status.st_size, 0o775 if runs else 0o664,
                    uid=archive.UID, gid=_GROUP,
                )  # fmt: skip
    writer.mark()
    return writer.finish()


def _walk(folder: Path, above: str) -> Iterator[tuple[Path, str]]:
    """Everything below the folder, parents first, in the order of the names' bytes."""
    for entry in sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name)):
        name = f"{above}{entry.name}"
        yield Path(entry.path), name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
