"""What a cold build without bytecode costs: processor seconds a GB of wheels.

    python bench/cold.py [--rounds 3] [--plain-malloc] [--json FILE] WHEEL…

An index on loopback serves the wheels, a build in a process of its own makes an image of them on a
base of one small layer, and a registry takes it; each round begins with nothing. What counts is
user and system time of the build and of the registry, the best of the rounds, so that a busy
machine changes little. `--plain-malloc` leaves out what builder/memory.py changes. To see where the
time goes, run it with one round under `perf record` or `py-spy record --native --subprocesses`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests")]

from peers.index import local_index  # noqa: E402
from rig.registry import Factory, registry_factory  # noqa: E402

from builder import layered, memory  # noqa: E402
from builder.download import Downloader  # noqa: E402
from builder.index import MemoryIndex  # noqa: E402
from builder.layers import gz, wheel  # noqa: E402
from builder.layers.cache import LayerCache  # noqa: E402
from builder.model import (  # noqa: E402
    LAYER_TYPE,
    Base,
    Descriptor,
    Layer,
    Lock,
    LockedWheel,
    Platform,
    PythonInfo,
)
from builder.source import HostPolicy  # noqa: E402
from builder.stores.open import open_store  # noqa: E402

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def locked(path: Path, index: str) -> LockedWheel:
    """The wheel as a lock names it."""
    name, version = path.name.split("-")[:2]
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    url = index.replace("/simple", f"/files/{path.name}")
    size = path.stat().st_size
    return LockedWheel(name.replace("_", "-"), version, path.name, url, sha256, size)


def build(order: dict[str, Any]) -> dict[str, Any]:
    """One build, and what this process took for it."""
    store = open_store(order["store"])
    plain = bytes(10240)
    packed = gz.member(plain)
    layer = Layer(Descriptor(LAYER_TYPE, digest_of(packed), len(packed)), digest_of(plain))
    store.put_blob("bench/base", layer.descriptor, lambda: io.BytesIO(packed))
    base = Base(
        name="bench",
        image=store.reference("bench/base", layer.descriptor.digest),
        digest=layer.descriptor.digest,
        platform=Platform(),
        layers=(layer,),
        python=PythonInfo("3.11.2", "/usr/bin/python3.11"),
        glibc=(2, 36),
    )
    wheels = tuple(LockedWheel(**each) for each in order["wheels"])
    lock = Lock("3.11", Platform(), wheels, "".join(f"{each.name}\n" for each in wheels))
    folder = Path(order["folder"])
    downloader = Downloader(folder / "wheels", HostPolicy(private=True))
    tools = layered.Tools(store, MemoryIndex(), LayerCache(folder / "layers"), downloader, None)
    if not order["plain_malloc"]:
        memory.keep_buffers()
    started, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    image, _ = layered.build(lock, base, "bench/cold", tools)
    wall_s = time.monotonic() - began
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "digest": image.digest,
        "wall_s": wall_s,
        "user_s": sum(each.ru_utime for each in used) - started.ru_utime,
        "system_s": sum(each.ru_stime for each in used) - started.ru_stime,
        "peak_mb": int(status["VmHWM"].split()[0]) * 1024 / 1e6,
    }


def used_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def one_round(make_registry: Factory, paths: list[Path], *, plain_malloc: bool) -> dict[str, Any]:
    """A cold build against a registry of its own."""
    registry = make_registry()
    try:
        with tempfile.TemporaryDirectory() as folder, local_index(paths[0].parent) as index:
            wheels = [locked(path, index) for path in paths]
            order = {
                "folder": folder,
                "plain_malloc": plain_malloc,
                "store": f"registry://{registry.host}",
                "wheels": [asdict(each) for each in wheels],
            }
            command = [sys.executable, __file__, "--order", json.dumps(order)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            found["registry_s"] = sum(used_s(pid) for pid in _registry_pids(registry.port))
            return found
    finally:
        registry.stop()


def _registry_pids(port: int) -> list[int]:
    """Processes whose configuration names the port."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                command[1:2] == [b"serve"]
                and f":{port}".encode() in Path(os.fsdecode(command[2])).read_bytes()
            ):
                found.append(int(folder.name))
        except (OSError, IndexError):
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheels", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain-malloc", action="store_true")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--order", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.order:
        print(json.dumps(build(json.loads(chosen.order))))
        return
    paths = [path.resolve() for path in chosen.wheels]
    packed_gb = sum(path.stat().st_size for path in paths) / 1e9
    plain_gb = sum(each.size_bytes for path in paths for each in wheel.read(path).entries) / 1e9
    with registry_factory() as make_registry:
        rounds = [
            one_round(make_registry, paths, plain_malloc=chosen.plain_malloc)
            for _ in range(chosen.rounds)
        ]
    best = {
        name: min(each[name] for each in rounds)
        for name in ("wall_s", "user_s", "system_s", "registry_s", "peak_mb")
    }
    best["build_s"] = min(each["user_s"] + each["system_s"] for each in rounds)
    found = {"packed_gb": packed_gb, "plain_gb": plain_gb, "digest": rounds[0]["digest"], **best}
    if chosen.json:
        chosen.json.write_text(json.dumps(found | {"rounds": rounds}, indent=2) + "\n")
    print(json.dumps(found, indent=2))
    print(f"{best['build_s'] / packed_gb:.2f} s a GB of wheels")


if __name__ == "__main__":
    main()
