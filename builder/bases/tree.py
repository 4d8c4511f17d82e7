"""The few files of an image that tell what it is, as its layers leave them.

Layers are laid over each other as the OCI image-spec ("Image Layer Filesystem Changeset") says:
whiteouts remove, an opaque whiteout empties a folder, anything but a folder over a folder replaces
it, and folders in an entry's own path are followed where lower layers made them links.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Protocol

from builder.errors import InvalidSpecError, TooLargeError

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS_LIMIT = 40
_DEPTH_LIMIT = 256
_TARGET_LIMIT = 4096
_NODES_LIMIT = 500_000

Path = tuple[str, ...]


class Interest(Protocol):
    """Which regular files matter, and what of them."""

    def wants(self, path: Path) -> bool:
        """Whether a file at this path matters."""

    def keep(self, path: Path, content: IO[bytes]) -> bytes:
        """What to keep of its content."""


@dataclass(slots=True)
class File:
    """A regular file that matters, with what was kept of it; `layer` counts from the bottom."""

    layer: int
    kept: bytes


@dataclass(slots=True)
class Link:
    """A symbolic link."""

    layer: int
    target: str


@dataclass(slots=True)
class Folder:
    """A folder, with those entries of it that matter; `layer` is the last that went into it."""

    layer: int
    entries: dict[str, Folder | File | Link] = field(default_factory=dict)

    def prune(self, layer: int) -> None:
        """Drop what lower layers than this one left."""
        for name, node in list(self.entries.items()):
            if node.layer < layer:
                del self.entries[name]
            elif isinstance(node, Folder):
                node.prune(layer)


class Tree:
    """Layers applied one over the other, bottom up."""

    def __init__(self, interest: Interest) -> None:
        self._interest = interest
        self._root = Folder(0)
        self._layer = 0
        self._nodes = 0

    def apply(self, entries: Iterable[tuple[tarfile.TarInfo, IO[bytes]]]) -> None:
        """Lay one more layer over those before.

        Raises InvalidSpecError if an entry's name leaves the root.
        """
        self._layer += 1
        for info, content in entries:
            path = _parts(info.name)
            if path and path[-1] == _OPAQUE:
                if folder := self._folder(path[:-1]):
                    folder.prune(self._layer)
            elif path and path[-1].startswith(_WHITEOUT):
                self._hide(path[:-1], path[-1].removeprefix(_WHITEOUT))
            elif path:
                self._put(path, info, content)

    def read(self, *path: str) -> bytes | None:
        """What was kept of the file at a path, links followed; None if there is none."""
        node = self.find(*path)
        return node[1].kept if node else None

    def find(self, *path: str) -> tuple[Path, File] | None:
        """Where the links of a path lead, and the file there; None if there is none."""
        real, node = self._walk(path)
        return (real, node) if isinstance(node, File) else None

    def names(self, *path: str) -> list[str]:
        """The names in a folder that matter, sorted."""
        _, node = self._walk(path)
        return sorted(node.entries) if isinstance(node, Folder) else []

    def _put(self, path: Path, info: tarfile.TarInfo, content: IO[bytes]) -> None:
        if info.isdir() and isinstance(self._walk(path, follow=False)[1], Folder):
            return
        node = self._node(path, info, content)
        folder = self._folder(path[:-1], make=node is not None)
        if folder and node:
            folder.entries[path[-1]] = node
        elif folder:
            folder.entries.pop(path[-1], None)

    def _node(self, path: Path, info: tarfile.TarInfo, content: IO[bytes]) -> File | Link | None:
        """What the entry leaves at its path, if that matters."""
        if info.issym():
            usable = 0 < len(info.linkname) <= _TARGET_LIMIT
            node: File | Link | None = Link(self._layer, info.linkname) if usable else None
        elif not self._interest.wants(path):
            node = None
        elif info.islnk():
            _, same = self._walk(_parts(info.linkname), follow=False)
            node = File(self._layer, same.kept if isinstance(same, File) else b"")
        elif info.isreg():
            node = File(self._layer, self._interest.keep(path, content))
        else:
            node = None
        self._nodes += node is not None
        if self._nodes > _NODES_LIMIT:
            raise TooLargeError("The image has too many links to look into; name another image.")
        return node

    def _hide(self, parents: Path, name: str) -> None:
        folder = self._folder(parents)
        node = folder.entries.get(name) if folder else None
        if folder and node and node.layer < self._layer:
            del folder.entries[name]
        elif isinstance(node, Folder):
            node.prune(self._layer)

    def _folder(self, path: Path, *, make: bool = False) -> Folder | None:
        _, node = self._walk(path, make=make)
        return node if isinstance(node, Folder) else None

    def _walk(
        self, path: Path, *, make: bool = False, follow: bool = True
    ) -> tuple[Path, Folder | File | Link | None]:
        """The node at a path, links followed inside the root; `make` adds missing folders.

        With `follow` unset a link at the very end is the answer itself.
        """
        todo = list(reversed(path))
        real: list[str] = []
        above: list[Folder] = [self._root]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                if real:
                    del real[-1], above[-1]
                continue
            node = self._step(above[-1], name, make=make)
            if isinstance(node, Link) and (todo or follow):
                links += 1
                if links > _LINKS_LIMIT:
                    return (), None
                if node.target.startswith("/"):
                    real, above = [], [self._root]
                todo += [part for part in reversed(node.target.split("/")) if part not in ("", ".")]
            elif isinstance(node, Folder):
                real.append(name)
                above.append(node)
            else:
                return ((), None) if todo else ((*real, name), node)
            if len(real) > _DEPTH_LIMIT:
                raise InvalidSpecError(
                    "The image has folders too deep to look into; name another image."
                )
        return tuple(real), above[-1]

    def _step(self, folder: Folder, name: str, *, make: bool) -> Folder | File | Link | None:
        node = folder.entries.get(name)
        if make and node is None:
            node = folder.entries[name] = Folder(self._layer)
        if make and isinstance(node, Folder):
            node.layer = self._layer
        return node


def _parts(name: str) -> Path:
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts or len(parts) > _DEPTH_LIMIT or "\0" in name:
        raise InvalidSpecError(
            f"A layer of the image holds the file name {name[:80]!r}, which leaves the image; "
            "name another image."
        )
    return parts
