"""How soon a container can work: the pull on a fresh node, then the first import.

    python bench/start.py prepare [--set FILE] [--modules torch,pandas,sklearn] [--keep FOLDER]
    python bench/start.py import | docker | containerd …  [--keep FOLDER] [--json FILE]

As root. `prepare` builds the set (bench/torch.txt) with Kitbag into a registry whose blobs stay in
FOLDER (.cache/bench/start), and beside it the peer, the same files on the same base as one gzip
layer. Then, in one call or in several:

`import` is the time of `python -c "import …"` in a container of the image, and in one of the base
into which uv has installed the same lock with bytecode: by turns, with the files in memory, and
with none of them there. `docker` and `containerd` pull and unpack the image and the peer, each on
an engine with an empty store, and then the image with one small package more.
Quote the ratios: the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench"), str(ROOT / "tests")]

from notebook import ONE_MORE, kitbag  # noqa: E402
from peers.index import fill, local_index  # noqa: E402
from peers.onelayer import Pushed, push_base_alone, push_one_layer  # noqa: E402
from rig.docker import DockerEngine, docker_engine  # noqa: E402
from rig.registry import registry_factory  # noqa: E402
from torch import SEEDS, UV  # noqa: E402

from builder.stores.registry import RegistryStore  # noqa: E402

ROWS = ("import", "docker", "containerd")
ROUNDS, COLD_ROUNDS = 7, 3
_NAME = "bench/start"
_CHILD = """\
import subprocess, sys, time
began = time.perf_counter()
subprocess.run([sys.executable, "-c", "import {}"], check=True)
print(time.perf_counter() - began)
"""


def prepare(keep: Path, listed: list[str], modules: str, wheels: Path) -> None:
    """Leave in `keep` a registry's blobs and, in images.json, what is where."""
    fill(wheels, [*listed, *ONE_MORE[:1], *SEEDS])
    images: dict[str, Any] = {"set": listed, "modules": modules}
    with (
        tempfile.TemporaryDirectory() as folder,
        registry_factory() as make_registry,
        local_index(wheels) as index,
    ):
        host = make_registry(root=keep / "registry").host
        os.environ["KITBAG_INDEX_URL"] = index
        with kitbag(Path(folder), host, bytecode=True) as server:
            for image, more in (("kitbag", ()), ("more", ONE_MORE[:1])):
                server.build("\n".join([*listed, *more]), _NAME)
                images[image] = server.version(_NAME)["image"].partition("/")[2]
        repo, _, digest = images["kitbag"].partition("@")
        pushed = Pushed.find(RegistryStore(host), repo, digest)
        images["base"] = push_base_alone(pushed, "peers/base").partition("/")[2]
        images["one layer"] = push_one_layer(pushed, "peers/one-layer").partition("/")[2]
    (keep / "images.json").write_text(json.dumps(images, indent=2) + "\n")


def measure_import(host: str, images: dict[str, Any], wheels: Path) -> dict[str, Any]:
    """Seconds of the import in both containers: medians, files in memory and not."""
    child = _CHILD.format(images["modules"].replace(",", ", "))
    with docker_engine() as engine, local_index(wheels) as index:
        ours = _container(engine, f"{host}/{images['kitbag']}")
        peer = _container(engine, f"{host}/{images['base']}", f"--volume={UV}:/usr/bin/uv:ro")
        requirements = "\n".join([f"--index-url {index}", *images["set"], ""])
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(requirements)
            file.flush()
            engine.docker("cp", file.name, f"{peer}:/tmp/lock.txt")
        uv = ("exec", "--user=0", "--env=UV_NO_CACHE=1", peer, "uv")
        engine.docker(*uv, "venv", "--python=python3", "/opt/venv")
        engine.docker(
            *(*uv, "pip", "sync", "--python=/opt/venv", "--compile-bytecode", "/tmp/lock.txt"),
            timeout_s=600,
        )

        def once(name: str, python: str) -> float:
            return float(engine.docker("exec", name, python, "-c", child).stdout)

        sides = {"kitbag": (ours, "python"), "uv": (peer, "/opt/venv/bin/python")}
        found: dict[str, Any] = {}
        for state, rounds in (("not in memory", COLD_ROUNDS), ("in memory", ROUNDS)):
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, (name, python) in sides.items():
                    if state == "not in memory":
                        os.sync()
                        Path("/proc/sys/vm/drop_caches").write_text("3")
                    times[side].append(once(name, python))
            found[state] = {side: statistics.median(each) for side, each in times.items()}
        return found


def _container(engine: DockerEngine, image: str, *options: str) -> str:
    """A container that waits; returns its id."""
    engine.docker("pull", image, timeout_s=900)
    run = ("run", "--detach", "--network=host", "--entrypoint=sleep", *options)
    return engine.docker(*run, image, "infinity").stdout.strip()


def measure_pulls(host: str, images: dict[str, Any], row: str) -> dict[str, float]:
    """Seconds until an engine with an empty store has each image unpacked."""
    found: dict[str, float] = {}
    for image in ("kitbag", "one layer"):
        with docker_engine() as engine:
            pull = _puller(engine, row)
            found[image] = _timed(pull, f"{host}/{images[image]}")
            if image == "kitbag":
                found["more"] = _timed(pull, f"{host}/{images['more']}")
    return found


def _puller(engine: DockerEngine, row: str) -> Callable[[str], object]:
    if row == "docker":
        return lambda image: engine.docker("pull", image, timeout_s=900)
    return lambda image: engine.ctr("images", "pull", "--plain-http", image, timeout_s=900)


def _timed(pull: Callable[[str], object], image: str) -> float:
    os.sync()
    began = time.monotonic()
    pull(image)
    return time.monotonic() - began


def table(found: dict[str, Any]) -> str:
    """The README's rows."""
    lines = ["| | Kitbag | peer | | ratio | goal |", "|---|---|---|---|---|---|"]

    def row(what: str, ours: float, peer: str, theirs: float, goal: str) -> None:
        ratio = f"{ours / theirs:.2f}"
        lines.append(f"| {what} | {ours:.2f} s | {peer} | {theirs:.2f} s | {ratio} | {goal} |")

    for state, goal in (("in memory", "≤ 1.05"), ("not in memory", "-")):
        if times := found.get("import", {}).get(state):
            what = f"import {found['modules']}, files {state}"
            row(what, times["kitbag"], "installed by uv", times["uv"], goal)
    for engine, name in (("docker", "Docker Engine"), ("containerd", "containerd")):
        if times := found.get(engine):
            peer, theirs = "one layer", times["one layer"]
            row(f"pulled and unpacked by {name}", times["kitbag"], peer, theirs, "-")
            row(f"one package more, by {name}", times["more"], f"{peer}, all anew", theirs, "-")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="+", choices=("prepare", *ROWS))
    parser.add_argument("--set", type=Path, default=ROOT / "bench" / "torch.txt")
    parser.add_argument("--modules", default="torch,pandas,sklearn")
    parser.add_argument("--keep", type=Path, default=ROOT / ".cache" / "bench" / "start")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".cache" / "bench" / "wheels")
    parser.add_argument("--json", type=Path, help="where every figure is kept from run to run")
    chosen = parser.parse_args()
    if "prepare" in chosen.rows:
        lines = chosen.set.read_text().splitlines()
        listed = [line for line in lines if line and not line.startswith("#")]
        prepare(chosen.keep, listed, chosen.modules, chosen.wheels)
    images = json.loads((chosen.keep / "images.json").read_text())
    before = chosen.json and chosen.json.exists()
    found: dict[str, Any] = json.loads(chosen.json.read_text()) if before else {}
    found["modules"] = images["modules"].replace(",", ", ")
    with registry_factory() as make_registry:
        host = make_registry(root=chosen.keep / "registry").host
        for row in (row for row in ROWS if row in chosen.rows):
            if row == "import":
                found[row] = measure_import(host, images, chosen.wheels)
            else:
                found[row] = measure_pulls(host, images, row)
            if chosen.json:
                chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
