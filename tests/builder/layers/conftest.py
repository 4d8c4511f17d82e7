"""Layers made of real wheels, unpacked, beside what uv installs from the same wheels."""

from __future__ import annotations

import gzip
import hashlib
import io
import marshal
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv
from rig.wheels import WheelFactory

from builder.layers import archive, bytecode, splice, wheel
from builder.layers.install import Prefix

MINOR = "{}.{}".format(*sys.version_info[:2])
PREFIX = Prefix("/opt/env", MINOR)

Tree = dict[str, tuple[str, int, bytes]]
"""Path → kind ("file", "folder" or "link"), permissions, and the target or the content: of what is
over HASHED_BYTES, and no bytecode, its sha256."""

HASHED_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Made:
    """A layer's bytes and what the writer says of them."""

    data: bytes
    written: archive.Written

    @property
    def plain(self) -> bytes:
        """The tar, inflated by zlib, which did not write it."""
        return gzip.decompress(self.data)

    def members(self) -> list[tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.data), mode="r:gz") as archive:
            return archive.getmembers()

    def unpack(self, root: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(self.data), mode="r:gz") as archive:
            archive.extractall(root, filter="tar")

    def tree(self, folder: Path, prefix: Prefix) -> Tree:
        """What lies under the prefix when the layer is unpacked, without an environment's own."""
        self.unpack(folder)
        own = {"bin", "lib", f"lib/python{prefix.python}", prefix.site_packages}
        found = tree(folder / prefix.path.lstrip("/"))
        return {path: what for path, what in found.items() if path not in own}


Splice = Callable[..., Made]


@pytest.fixture(scope="session")
def compiler() -> Iterator[bytecode.Compiler]:
    """A compiler of this Python's own minor version."""
    interpreter = bytecode.find_interpreter(MINOR)
    assert interpreter is not None
    with bytecode.Compiler(interpreter, 2) as started:
        yield started


@pytest.fixture(scope="session")
def threads() -> Iterator[ThreadPoolExecutor]:
    """Where compilations are waited for."""
    with ThreadPoolExecutor(4) as executor:
        yield executor


@pytest.fixture
def layer_of(compiler: bytecode.Compiler, threads: ThreadPoolExecutor) -> Splice:
    """Makes the layer of one wheel: `layer_of(path, prefix=…, bytecode=True)`."""

    def make(path: Path, prefix: Prefix = PREFIX, *, bytecode: bool = True) -> Made:
        out = io.BytesIO()
        source = wheel.read(path)
        written = splice.write_wheel(out, source, prefix, compiler if bytecode else None, threads)
        return Made(out.getvalue(), written)

    return make


@pytest.fixture
def bucket_of(layer_of: Splice) -> Callable[..., Made]:
    """Makes the one layer of several wheels."""

    def make(paths: Sequence[Path], prefix: Prefix = PREFIX, *, bytecode: bool = True) -> Made:
        made = [layer_of(path, prefix, bytecode=bytecode) for path in paths]
        out = io.BytesIO()
        pieces = ((io.BytesIO(each.data), each.written) for each in made)
        written = splice.write_bucket(out, prefix, pieces)
        return Made(out.getvalue(), written)

    return make


@dataclass(frozen=True, slots=True)
class Venv:
    """An environment that uv made; `prefix` is where it lies on this machine."""

    root: Path
    index: WheelFactory
    own: frozenset[str]
    """What lies in it before anything is installed."""

    @property
    def prefix(self) -> Prefix:
        return Prefix(str(self.root), MINOR)

    def install(self, *wheels: Path, compile_bytecode: bool = True) -> Tree:
        """Install with uv; returns what that added."""
        before = tree(self.root)
        self.try_install(*wheels, compile_bytecode=compile_bytecode).check_returncode()
        after = tree(self.root)
        after.pop(".lock")  # uv's own, empty
        return {path: what for path, what in after.items() if path not in before}

    def differences(self, made: Made, *wheels: Path) -> list[str]:
        """Installs the wheels; a line for each path that is not as the layers have it."""
        theirs = self.install(*wheels)
        assert theirs, "uv installed nothing, so nothing would be compared"
        return differences(made.tree(self.root.parents[1] / "ours", self.prefix), theirs)

    def differences_to(self, root: Path) -> list[str]:
        """A line for each path that is not the same here and in the environment below `root`."""
        trees = [tree(root / self.prefix.path.lstrip("/")), tree(self.root)]
        ours, theirs = ({p: w for p, w in t.items() if p not in self.own} for t in trees)
        theirs.pop(".lock")  # uv's own, empty
        assert theirs, "uv installed nothing, so nothing would be compared"
        return differences(ours, theirs)

    def try_install(
        self, *wheels: Path, compile_bytecode: bool = True
    ) -> subprocess.CompletedProcess[str]:
        more = ["--compile-bytecode"] if compile_bytecode else []
        return subprocess.run(
            [
                *(uv.find_uv_bin(), "pip", "install", "--no-deps", "--no-config", "--quiet"),
                *("--python", str(self.root / "bin/python"), "--index-url", self.index.index_url),
                *more,
                *(self.index.requirement(path).split()[0] for path in wheels),
            ],
            env={
                **os.environ,
                "PYC_INVALIDATION_MODE": "UNCHECKED_HASH",
                "UV_CACHE_DIR": str(self.root.parent / "uv-cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def venv(tmp_path: Path, wheel_factory: WheelFactory) -> Venv:
    """An empty environment made by uv with this Python."""
    root = tmp_path / "as-uv" / "env"
    subprocess.run(
        [uv.find_uv_bin(), "venv", "--quiet", "--no-config", "--python", sys.executable, str(root)],
        check=True,
    )
    return Venv(root, wheel_factory, frozenset(tree(root)))


def tree(root: Path) -> Tree:
    """Everything below a folder."""
    found: Tree = {}
    for path in root.rglob("*"):
        status, shown = path.lstat(), str(path.relative_to(root))
        mode = stat.S_IMODE(status.st_mode)
        if path.is_symlink():
            found[shown] = ("link", 0, bytes(path.readlink()))
        elif path.is_dir():
            found[shown] = ("folder", mode, b"")
        else:
            data = path.read_bytes()
            if len(data) > HASHED_BYTES and path.suffix != ".pyc":
                data = b"sha256:" + hashlib.sha256(data).hexdigest().encode()
            found[shown] = ("file", mode, data)
    return found


def differences(ours: Tree, theirs: Tree) -> list[str]:
    """A line for each path that is not the same in both."""
    lines = []
    for path in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(path), theirs.get(path)
        if a and b and a[:2] == b[:2] and path.endswith(".pyc") and same_code(a[2], b[2]):
            continue
        if a and b and a[:2] == b[:2] and a != b:
            both = set(a[2].splitlines()), set(b[2].splitlines())
            lines.append(
                f"{path}: {sorted(both[0] - both[1])[:9]} | {sorted(both[1] - both[0])[:9]}"
            )
        elif a != b:
            lines.append(f"{path}: {_shown(a)} | {_shown(b)}")
    return lines


def same_code(ours: bytes, theirs: bytes) -> bool:
    """Whether bytecode is the same but for marshal's references.

    Those tell how often a string was shared inside the process that compiled: uv's compile many
    files each, in whatever order, so some of theirs differ from run to run.
    """
    if ours == theirs or ours[:16] != theirs[:16]:
        return ours == theirs
    a, b = marshal.loads(ours[16:]), marshal.loads(theirs[16:])
    return bool(a == b and a.co_filename == b.co_filename)


def _shown(what: tuple[str, int, bytes] | None) -> str:
    if what is None:
        return "absent"
    kind, mode, data = what
    head = data if len(data) < 600 else hashlib.sha256(data).hexdigest().encode()
    return f"{kind} {mode:o} {head!r}"
