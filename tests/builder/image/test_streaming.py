"""A build holds no wheel whole, and its largest wheel holds up no other."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rig.http import QuietHandler, serve
from rig.registry import Registry

from builder.model import LockedWheel
from builder.stores.registry import RegistryStore

ROOT = Path(__file__).parents[3]
HUGE_BYTES = 512 << 20
PEAK_BYTES = 256 << 20
"""Half of the goal, and of the wheel: what holds the wheel whole is over it."""

_BLOCK_BYTES = 1 << 20

_BUILD = """
import json, sys
from pathlib import Path
given = json.load(open(sys.argv[1]))
from builder import layered
from builder.download import Downloader
from builder.index import MemoryIndex
from builder.layers import bytecode
from builder.layers.cache import LayerCache
from builder.model import Base, Lock, LockedWheel, Platform
from builder.source import HostPolicy
from builder.stores.open import open_store
folder = Path(given["folder"])
base = Base.from_json(given["base"])
wheels = tuple(LockedWheel(**each) for each in given["wheels"])
lock = Lock(base.python.minor, Platform(), wheels, given["text"])
interpreter = bytecode.find_interpreter(base.python.minor)
with bytecode.Compiler(interpreter) as compiler:
    tools = layered.Tools(
        open_store(given["store"]),
        MemoryIndex(),
        LayerCache(folder / "layers"),
        Downloader(folder / "wheels", HostPolicy(private=True)),
        compiler,
    )
    image, stats = layered.build(lock, base, given["repo"], tools)
    assert compiler.ahead._bytes == 0
# Not getrusage: what the parent had in memory when it forked counts there.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak_bytes = int(status["VmHWM"].split()[0]) << 10
print(json.dumps({"digest": image.digest, "peak_bytes": peak_bytes}))
"""


def begin_build(folder: Path, **given: Any) -> subprocess.Popen[str]:
    """A build in a process of its own, which prints the digest and its peak RSS."""
    order = folder / "order.json"
    order.write_text(json.dumps({"folder": str(folder)} | given))
    return subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    said: dict[str, Any] = json.loads(out)
    return said


def huge_wheel(path: Path) -> None:
    """A wheel of half a gigabyte that can't be packed, with modules to compile beside it."""
    rng = os.urandom(_BLOCK_BYTES)
    info = "huge-1.0.dist-info"
    small = {
        **{f"huge/m{n}.py": f"def f(x={n}):\n    return x\n" * 200 for n in range(300)},
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: huge\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n",
    }
    hashed = hashlib.sha256()
    # Level 0: deflate that only says how long it is, so that making it is quick.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as archive:
        with archive.open("huge/data.bin", "w", force_zip64=True) as target:
            for number in range(HUGE_BYTES // _BLOCK_BYTES):
                block = number.to_bytes(8, "big") + rng[8:]
                hashed.update(block)
                target.write(block)
        for name, text in small.items():
            archive.writestr(name, text)
        digest = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()
        row = f"huge/data.bin,sha256={digest},{HUGE_BYTES}\n"
        archive.writestr(f"{info}/RECORD", row)


@dataclasses.dataclass(slots=True)
class Gated:
    """A wheel on a server that keeps its second half back until `rest` is set."""

    wheel: LockedWheel
    rest: threading.Event
    halves: list[str] = dataclasses.field(default_factory=list)


@pytest.fixture
def gated_wheel() -> Iterator[Gated]:
    rest = threading.Event()
    with tempfile.TemporaryDirectory(prefix="huge-") as folder:
        path = Path(folder) / "huge-1.0-py3-none-any.whl"
        huge_wheel(path)
        size = path.stat().st_size

        class Handler(QuietHandler):
            def answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                with path.open("rb") as file:
                    self._send(file, size // 2)
                    gated.halves.append("first")
                    # Each byte counts as a sign of life, so that nobody's patience ends.
                    while not rest.wait(1):
                        self._send(file, 1)
                    gated.halves.append("second")
                    self._send(file, size)

            def _send(self, file: Any, left: int) -> None:
                while left and (chunk := file.read(min(left, 1 << 20))):
                    self.wfile.write(chunk)
                    left -= len(chunk)

        with serve(Handler) as port, path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            url = f"http://127.0.0.1:{port}/{path.name}"
            gated = Gated(LockedWheel("huge", "1.0", path.name, url, sha256, size), rest)
            yield gated


@pytest.mark.slow
@pytest.mark.rig
def test_half_a_gigabyte_is_never_held_and_all_else_is_pushed_before_it_has_come(
    builder: Any,
    registry: Registry,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    gated_wheel: Gated,
    tmp_path: Path,
) -> None:
    with closing(RegistryStore(registry.host)) as store:
        base, small = put_base(store, "streams/tiny"), lock_of(few_wheels)
        others, _ = builder.build(small, base, builder.tools(store), "streams/others")
        digests = [layer.descriptor.digest for layer in others.layers[len(base.layers) + 1 : -1]]
        assert store.missing("streams/env", digests) == set(digests)
        build = begin_build(
            tmp_path,
            base=base.to_json(),
            wheels=[dataclasses.asdict(each) for each in (gated_wheel.wheel, *small.wheels)],
            text=small.text + "huge\n",
            repo="streams/env",
            store=f"registry://{registry.host}",
        )
        deadline = time.monotonic() + 120
        while store.missing("streams/env", digests):
            assert build.poll() is None, build.communicate()[1][-3000:]
            assert time.monotonic() < deadline, "the others wait for the largest"
            time.sleep(0.2)
        assert gated_wheel.halves in ([], ["first"])
        gated_wheel.rest.set()
        said = ended(build)
        assert gated_wheel.halves == ["first", "second"]
        assert store.manifest("streams/env", said["digest"]) is not None
        assert said["peak_bytes"] < PEAK_BYTES
