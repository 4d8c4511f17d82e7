"""The same wheels are the same layer, whoever makes it, where, when and in what order."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

from builder.layers import archive, bytecode, tar
from builder.layers.cache import LAYOUT, LayerCache, Recipe
from builder.layers.gz import member
from builder.layers.install import Prefix

ROOT = Path(__file__).parents[3]
PREFIX = Prefix("/opt/env", "3.11")

_MAKE = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from builder.layers import bytecode, install, splice, wheel
prefix = install.Prefix("/opt/env", "%d.%d" % sys.version_info[:2])
python = bytecode.find_interpreter(prefix.python)
with bytecode.Compiler(python, int(sys.argv[2])) as compiler, ThreadPoolExecutor(4) as threads:
    with open(sys.argv[3], "wb") as out:
        made = splice.write_wheel(out, wheel.read(Path(sys.argv[1])), prefix, compiler, threads)
        print(made.digest, made.diff_id)
"""


@pytest.fixture
def busy_wheel(wheel_factory: WheelFactory) -> Path:
    """A wheel with everything in it that has ever depended on a machine."""
    rng = random.Random(7)
    modules = {
        f"busy/m{n}.py": f"S = {{'a{n}', 'b', 'c', None, ...}}\ndef f(x=('k', {n})):\n"
        f"    return x in {{'p', 'q', {rng.random()}}}\n"
        for n in range(150)
    }
    return wheel_factory.wheel(
        "busy",
        files={"busy/__init__.py": "", "busy/größe.txt": "ß", **modules},
        data={"scripts/go": "#!python\n", "data/share/x": "x", "headers/b.h": "1"},
        scripts={"zeta": "busy:z", "alpha": "busy:a"},
        stored={"busy/m3.py"},
        streamed={"busy/m4.py"},
        executable={"busy/größe.txt"},
    )


@pytest.mark.parametrize(
    ("environment", "umask", "processes"),
    [
        ({}, 0o022, 1),
        ({"PYTHONHASHSEED": "1"}, 0o077, 2),
        ({"PYTHONHASHSEED": "99", "TZ": "Pacific/Kiritimati"}, 0o000, 8),
        ({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}, 0o027, 3),
        ({"LC_ALL": "tr_TR.UTF-8", "SOURCE_DATE_EPOCH": "86400"}, 0o022, 2),
        ({"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"}, 0o022, 2),
        ({"TMPDIR": "elsewhere", "HOME": "/nonexistent"}, 0o022, 2),
    ],
)
def test_no_setting_of_the_machine_changes_a_byte(
    environment: dict[str, str],
    umask: int,
    processes: int,
    busy_wheel: Path,
    layer_of: Callable[..., Any],
    tmp_path: Path,
) -> None:
    if "TMPDIR" in environment:
        (tmp_path / "elsewhere").mkdir()
        environment = {**environment, "TMPDIR": str(tmp_path / "elsewhere")}
    out = tmp_path / "layer.tar.gz"
    done = subprocess.run(
        [sys.executable, "-c", _MAKE, str(busy_wheel), str(processes), str(out)],
        cwd=ROOT,
        env={**os.environ, **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = layer_of(busy_wheel)
    assert out.read_bytes() == made.data
    assert done.stdout.split() == [made.written.digest, made.written.diff_id]


def test_a_bucket_is_its_wheels_whatever_made_them_first(
    wheel_factory: WheelFactory, bucket_of: Callable[..., Any]
) -> None:
    paths = [wheel_factory.wheel(f"part-{n}") for n in range(6)]
    first, second = bucket_of(paths), bucket_of(paths)
    assert first.data == second.data
    assert first.written.diff_id == f"sha256:{hashlib.sha256(first.plain).hexdigest()}"
    assert first.written.digest == f"sha256:{hashlib.sha256(first.data).hexdigest()}"
    names = [m.name for m in first.members() if m.isfile()]
    assert len(names) == len(set(names))


def handmade(path: Path) -> Path:
    """A wheel that no library's choice of bytes can change: all its entries are stored."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            "golden/__init__.py": "x = 1\n",
            "golden/größe.txt": "ß\n",
            "golden-1.0.data/scripts/go": "#!python\nprint()\n",
            "golden-1.0.data/data/share/golden/" + "long/" * 60 + "x": "x\n",
            "golden-1.0.dist-info/METADATA": "Name: golden\n",
            "golden-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\n",
            "golden-1.0.dist-info/entry_points.txt": "[console_scripts]\nsay = golden:x\n",
            "golden-1.0.dist-info/RECORD": "",
        }.items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, text)
    return path


GOLDEN_LAYOUT = 4
GOLDEN_DIGEST = "sha256:8640acfa3b8e289d1f7569643c5f43f1756d992e9caa78b24fba228963153b5a"
GOLDEN_DIFF_ID = "sha256:0f3263557603ac8eaae548d0a005fc9fd4bc9390fa2b80a045cdc49164180579"


def test_the_bytes_of_one_layer_are_known(layer_of: Callable[..., Any], tmp_path: Path) -> None:
    """Where this fails, layers have other bytes than in the last release: raise cache.LAYOUT.

    It may be our own layout, tarfile's headers, or libdeflate's compression that changed.
    """
    made = layer_of(handmade(tmp_path / "golden-1.0-py3-none-any.whl"), PREFIX, bytecode=False)
    known = (LAYOUT, made.written.diff_id, made.written.digest)
    assert known == (GOLDEN_LAYOUT, GOLDEN_DIFF_ID, GOLDEN_DIGEST)


def test_what_is_compressed_here_has_known_bytes() -> None:
    data = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(5000))
    known = "40bf3d79785d41e27ca2f1a691179adbe7cda900a7c1d5b22f12c535b6c4916a"
    assert hashlib.sha256(member(data)).hexdigest() == known


def test_gzip_and_tar_of_other_makers_read_a_layer(
    layer_of: Callable[..., Any], busy_wheel: Path, tmp_path: Path
) -> None:
    made = layer_of(busy_wheel)
    file = tmp_path / "layer.tar.gz"
    file.write_bytes(made.data)
    subprocess.run(["gzip", "-t", file], check=True)
    unzipped = subprocess.run(["gzip", "-dc", file], check=True, capture_output=True).stdout
    assert unzipped == gzip.decompress(made.data) == made.plain
    listed = subprocess.run(
        ["tar", "--quoting-style=literal", "-tzf", file],
        check=True,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert not listed.stderr
    names = [m.name + "/" * m.isdir() for m in made.members()]
    assert listed.stdout.decode().splitlines() == names
    assert len(made.plain) % 512 == 0
    with tarfile.open(file, "r|gz") as entries:
        for each in entries:
            owner = (0, 0) if each.name == "opt" else (archive.UID, archive.GID)
            assert (each.uid, each.gid, each.mtime) == (*owner, tar.EPOCH_S)


def test_a_layer_in_the_cache_is_made_once_and_found_again(
    layer_of: Callable[..., Any], busy_wheel: Path, tmp_path: Path
) -> None:
    cache = LayerCache(tmp_path / "cache")
    made = layer_of(busy_wheel)
    calls = []

    def write(out: Any) -> archive.Written:
        calls.append(out)
        out.write(made.data)
        return made.written  # type: ignore[no-any-return]

    key = Recipe("/opt/env", "3.11", "3.11.7").key("0" * 64)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.make(key, write), range(16)))
    assert len(calls) == 1
    assert set(found) == {made.written}
    assert cache.path(key).read_bytes() == made.data
    cache.path(key).chmod(0o644)
    with cache.path(key).open("r+b") as file:
        file.truncate(100)
    assert cache.get(key) is None, "a file cut short is not a layer"
    assert cache.make(key, write) == made.written
    assert cache.get(key) == made.written


def test_a_layer_whose_making_fails_leaves_nothing_and_can_be_made_later(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")

    def fail(out: Any) -> archive.Written:
        out.write(b"half")
        raise RuntimeError

    for _ in range(2):
        with pytest.raises(RuntimeError):
            cache.make("ab" * 32, fail)
        assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_trimming_keeps_what_was_used_last(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")
    keys = [f"{n:02x}" * 32 for n in range(5)]
    for number, key in enumerate(keys):

        def write(out: Any) -> archive.Written:
            out.write(bytes(1000))
            return archive.Written("d", "i", 1000, 1, 2, 3)

        cache.make(key, write)
        os.utime(cache.path(key), (1000 + number, 1000 + number))
    assert cache.get(keys[0])
    assert cache.trim(3000, dry_run=True) == 2000
    assert [cache.get(key) is None for key in keys].count(True) == 0
    for number, key in enumerate(keys):
        os.utime(cache.path(key), (2000 - number, 2000 - number))
    assert cache.trim(3000) == 2000
    assert [cache.get(key) is None for key in keys] == [False, False, False, True, True]


MODULES = {
    "constants": "A = ('x', 'y', ('x', 1.5, None, ..., b'z'))\nB = {'p': ('x', 'y')}\n",
    "sets": "def f(v):\n    return v in {'a', 'b', 'c', 'd', 1, 2.5, None, 'x'}\n",
    "shared": "def f():\n    return 'shared'\ndef g(shared='shared'):\n    f.x = shared\n",
    "classes": "class C:\n    'doc'\n    def m(self, a, *, b=1) -> 'C':\n        return lambda: a",
    "closures": (
        "def o():\n    a = b = 0\n    def i():\n        nonlocal a\n        a += b\n"
        "        return [a for b in i()]\n    return i\n"
    ),
    "numbers": "N = 10**30\nC = 1j\nF = 1e300\nT = (10**30, -0.0, 0.0, 1e300)\n",
    "names": "import os.path as p, sys\nfrom collections import deque as d\nx: int = sys.maxsize\n",
    "async_": "async def f():\n    async with g() as h:\n        yield await h\n",
    "strings": "S = f'{1!r:>{2}} {__name__}'\nU = 'größe 😀'\nL = '" + "l" * 5000 + "'\n",
    "empty": "",
    "try_": (
        "try:\n    import a\nexcept (ImportError, ValueError) as e:\n"
        "    raise KeyError('x') from e\nfinally:\n    pass\n"
    ),
}


@pytest.mark.parametrize("minor", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_bytecode_does_not_depend_on_what_is_compiled_beside_it(minor: str) -> None:
    interpreter = bytecode.find_interpreter(minor)
    if interpreter is None:
        pytest.skip(f"no Python {minor} on this machine")
    library = Path(
        subprocess.run(
            [interpreter.executable, "-c", "import json; print(json.__file__)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    ).parents[1]
    texts = {name: text.encode() for name, text in MODULES.items()}
    texts |= {path.stem: path.read_bytes() for path in sorted(library.glob("[a-h]*.py"))}
    sources = [bytecode.Source(f"/opt/env/{name}.py", text) for name, text in texts.items()]
    with bytecode.Compiler(interpreter, 2) as compiler:
        alone = {source: compiler.compile([source])[0] for source in sources[:40]}
        for order in (sources, sources[::-1], random.Random(1).sample(sources, len(sources))):
            found = dict(zip(order, compiler.compile(order), strict=True))
            different = [s.path for s in alone if found[s] != alone[s]]
            assert different == []
    assert None not in alone.values()


def test_a_compiler_whose_process_was_killed_starts_another(compiler: bytecode.Compiler) -> None:
    source = bytecode.Source("/x.py", b"x = 1\n")
    with bytecode.Compiler(compiler.interpreter, 1) as one:
        first = one.compile([source])
        one._idle[0].kill()
        one._idle[0].wait()
        assert one.compile([source]) == first


def test_a_module_that_crashes_its_compiler_costs_that_module_alone(
    compiler: bytecode.Compiler,
) -> None:
    deep = b"x = " + b"-" * 3_000_000 + b"1\n"
    good = bytecode.Source("/good.py", b"x = 1\n")
    found = compiler.compile([good, bytecode.Source("/deep.py", deep), good])
    assert found[1] is None
    assert found[0] == found[2] == compiler.compile([good])[0]
