"""What a user points at - a folder, a file, a git URL - as the source of a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Union

from kitbag.errors import PackError

DEFAULT_NAMESPACE = "default"

_GIT_SCHEMES = frozenset({"https", "http", "ssh", "git", "file"})
# What git takes for USER@HOST:PATH; a colon behind a slash is part of a local path.
_SCP_LIKE = re.compile(
    r"(?P<user>[\w.-]+)@(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<path>[^/].*|/.*)"
)
_MAX_NAME_CHARS = 63


@dataclass(frozen=True)
class Git:
    """A repository at a ref (None: its default branch), or one folder of it.

    `submodules` and `lfs` ask for what these stand for, which is left out otherwise.
    """

    url: str
    ref: str | None = None
    subdir: str | None = None
    submodules: bool = False
    lfs: bool = False

    @property
    def environment(self) -> str | None:
        """None: the server names it after the repository."""
        return None

    def as_json(self) -> dict[str, Any]:
        """The `source` of a build request."""
        more = {"submodules": self.submodules, "lfs": self.lfs}
        wanted = {name: True for name, value in more.items() if value}
        return {"git": {"url": self.url, "ref": self.ref, "subdir": self.subdir} | wanted}


@dataclass(frozen=True)
class Files:
    """Texts by relative path, small enough to go into the request itself."""

    files: Mapping[str, str]
    environment: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The `source` of a build request."""
        return {"files": dict(self.files)}


@dataclass(frozen=True)
class Folder:
    """A local folder, uploaded as an archive; `left_out` names what can't go along, and why."""

    path: Path
    environment: str | None
    left_out: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), repr=False)

    def packed(self) -> AbstractContextManager[IO[bytes]]:
        """A temporary tar.gz of the folder; PackError if it is over the server's limit."""
        from kitbag import pack

        return pack.packed(self.path, self.names)


Source = Union[Git, Files, Folder]  # noqa: UP007 - evaluated at run time, by Python 3.10 too


def find(
    place: str | Path,
    *,
    ref: str | None = None,
    subdir: str | None = None,
    submodules: bool = False,
    lfs: bool = False,
) -> Source:
    """The source at a path or git URL.

    Raises PackError for what is not there, for a ref, submodules or LFS files of something that is
    no git URL, and for files that can't be read or sent.
    """
    text = str(place)
    if isinstance(place, str) and is_git_url(text):
        return Git(text.removeprefix("git+"), ref, subdir, submodules, lfs)
    if ref is not None:
        raise PackError(
            f"--ref {ref} needs a git URL: {text} is a path, whose files are taken as they are"
        )
    if submodules or lfs:
        asked = "--submodules" if submodules else "--lfs"
        raise PackError(
            f"{asked} needs a git URL: {text} is a path, whose files are taken as they are"
        )
    path = Path(place).expanduser()
    if subdir is not None:
        if not path.is_dir():
            raise PackError(f"--subdir {subdir} needs a folder or a git URL, not {text}")
        inner = PurePosixPath(subdir)
        if inner.is_absolute() or ".." in inner.parts:
            raise PackError(f"--subdir {subdir} leaves the folder: name one inside {text}")
        path = path / inner
    if path.is_dir():
        from kitbag import pack

        listing = pack.listing(path)
        return Folder(path, _local_name(path), listing.left_out, listing.names)
    if path.is_file():
        from kitbag import inline

        return Files(inline.texts(path), _local_name(path.absolute().parent))
    raise PackError(f"{path} is not there: give a folder, a requirements file or a git URL")


def is_git_url(text: str) -> bool:
    """Whether this is a URL to clone, not a path."""
    scheme, colon, _ = text.removeprefix("git+").partition("://")
    if colon:
        return scheme.lower() in _GIT_SCHEMES
    return _SCP_LIKE.fullmatch(text) is not None


def derived_name(text: str) -> str | None:
    """The nearest valid name, such as 3dgan for 3DGAN.git; None if no letter or digit is in it."""
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower().removesuffix(".git")).strip("-")
    return kept[:_MAX_NAME_CHARS].rstrip("-") or None


def _local_name(folder: Path) -> str | None:
    name = derived_name(folder.resolve().name)
    if name is None:
        raise PackError(f"{folder} gives no name for an environment: say one with --name NS/NAME")
    return f"{DEFAULT_NAMESPACE}/{name}"
