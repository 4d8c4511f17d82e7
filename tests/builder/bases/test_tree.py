"""Layers laid over each other in memory are what they would be on disk."""

from __future__ import annotations

import io
import itertools
import shutil
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from builder.bases.tree import Tree

from .conftest import Entry, folder, link, opaque, tar, whiteout

FOLDERS = ("a", "b")
NAMES = (*FOLDERS, "f", "x")
LINKS_LIMIT = 40


class OnlyF:
    """Files named f matter."""

    def wants(self, path: tuple[str, ...]) -> bool:
        return path[-1] == "f"

    def keep(self, path: tuple[str, ...], content: io.BufferedIOBase) -> bytes:
        return content.read()


class Disk:
    """The same on a real file system, as runtimes unpack layers: whiteouts, then files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def apply(self, entries: list[Entry]) -> None:
        for entry in entries:
            parent, _, name = entry.name.rpartition("/")
            if name.startswith(".wh."):
                where = self.resolve(parent)
                hidden = name.removeprefix(".wh.")
                if where is None or not where.is_dir():
                    continue
                for gone in list(where.iterdir()) if hidden == ".wh..opq" else [where / hidden]:
                    remove(gone)
                continue
            where = self.resolve(parent)
            if where is None:
                continue
            for above in [*reversed(where.parents), where]:
                if above.is_relative_to(self.root) and not above.is_dir():
                    remove(above)
                    above.mkdir()
            path = where / name
            if entry.kind == tarfile.DIRTYPE:
                if path.is_symlink() or not path.is_dir():
                    remove(path)
                    path.mkdir()
                continue
            remove(path)
            if entry.kind == tarfile.SYMTYPE:
                path.symlink_to(entry.target)
            else:
                path.write_bytes(entry.data)

    def read(self, path: str) -> bytes | None:
        """The content of a file that matters: those that don't are empty."""
        found = self.resolve(path)
        return (found.read_bytes() or None) if found and found.is_file() else None

    def resolve(self, path: str) -> Path | None:
        """Where a path leads with this folder as root, there or not; None after too many links."""
        todo, here = path.split("/")[::-1], self.root
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = here if here == self.root else here.parent
            elif (here / part).is_symlink() and part:
                links += 1
                if links > LINKS_LIMIT:
                    return None
                target = str((here / part).readlink())
                here = self.root if target.startswith("/") else here
                todo += target.split("/")[::-1]
            else:
                here = here / part
        return here


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


parents = st.lists(st.sampled_from(FOLDERS), max_size=3).map(
    lambda parts: "".join(f"{p}/" for p in parts)
)
paths = st.builds(str.__add__, parents, st.sampled_from(NAMES))
targets = st.sampled_from(["a", "b", "/a", "/b", "../a", "../../b", "b/f", "f", "/a/b", "x"])
hiding = st.one_of(
    st.builds(whiteout, paths),
    st.builds(lambda parent: opaque(parent.rstrip("/")), parents.filter(bool)),
)
holding = st.one_of(
    st.builds(Entry, paths.filter(lambda p: p.endswith("f")), st.binary(min_size=1, max_size=3)),
    st.builds(Entry, paths.filter(lambda p: not p.endswith("f"))),
    st.builds(folder, paths.filter(lambda p: not p.endswith("f"))),
    st.builds(link, parents.flatmap(lambda p: st.sampled_from([f"{p}a", f"{p}b"])), targets),
)
layers = st.tuples(st.lists(hiding, max_size=3), st.lists(holding, max_size=6)).map(
    lambda both: both[0] + both[1]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(layers, min_size=1, max_size=4))
def test_layers_in_memory_are_what_they_are_on_disk(stack: list[list[Entry]]) -> None:
    tree = Tree(OnlyF())
    with tempfile.TemporaryDirectory() as scratch:
        disk = Disk(Path(scratch))
        for layer in stack:
            with tarfile.open(fileobj=io.BytesIO(tar(layer))) as archive:
                tree.apply(
                    (info, archive.extractfile(info) or io.BytesIO())
                    if info.isreg()
                    else (info, io.BytesIO())
                    for info in archive
                )
            disk.apply(layer)
        for depth in range(4):
            for parts in itertools.product(FOLDERS, repeat=depth):
                for name in ("f", *FOLDERS):
                    assert tree.read(*parts, name) == disk.read("/".join((*parts, name))), parts
