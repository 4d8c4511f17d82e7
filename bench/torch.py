"""The torch set, 167 packages and 3.3 GB: Kitbag against uv alone and BuildKit + uv, in one run.

    python bench/torch.py [--json FILE] [--wheels FOLDER] [--no-buildkit] [--no-bytecode]

As root. The wheels are fetched once into FOLDER (.cache/bench/wheels, 3.3 GB); from there an index
on loopback serves every side, each with a cold cache of its own. Kitbag's time is from the request
to the digest in a local registry. uv's is `uv pip sync` of the same pins into a new environment: no
image, no push. A run takes some 30 GB of disk for a while. Quote the ratios: the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from notebook import ONE_MORE, kitbag  # noqa: E402
from peers.buildkit import BuildKitPeer  # noqa: E402
from peers.index import fill, local_index  # noqa: E402
from peers.uv import UvPeer  # noqa: E402
from rig.docker import docker_engine  # noqa: E402
from rig.registry import Factory, registry_factory  # noqa: E402
from rig.root import debian_root  # noqa: E402

SET = ROOT / "bench" / "torch.txt"
SEEDS = ("pip==26.0", "wheel==0.45.1")
"""What Kitbag adds to a set, and what its first build, not measured, holds."""
UV = Path(sys.executable).with_name("uv")


def pins() -> list[str]:
    """The set's requirements without comments."""
    return [line for line in SET.read_text().splitlines() if line and not line.startswith("#")]


def measure(make_registry: Factory, folder: Path, *, bytecode: bool) -> dict[str, Any]:
    """Kitbag cold, then with one small package more, on a registry of its own."""
    wanted = "\n".join(pins())
    with kitbag(folder, make_registry().host, bytecode=bytecode) as server:
        cold_s, build = server.build(wanted, "bench/torch")
        found: dict[str, Any] = {"cold_s": cold_s, "phases_s": build["stats"]["seconds"]}
        found["image_bytes"] = build["stats"]["image_bytes"]
        found["cold_peak_rss_mb"] = server.peak_rss_bytes() / 1e6
        times, moved = [], []
        for package in ONE_MORE:
            took, build = server.build(f"{wanted}\n{package}\n", "bench/torch")
            times.append(took)
            moved.append(build["stats"]["bytes_moved"])
        found["one_more_s"] = statistics.median(times)
        found["one_more_moved_mb"] = max(moved) / 1e6
    shutil.rmtree(folder)
    return found


def measure_uv(folder: Path, requirements: Path, *, bytecode: bool) -> float:
    """Seconds of uv with a cold cache."""
    folder.mkdir()
    took = UvPeer(UV, folder, bytecode=bytecode).sync(requirements).total_s
    shutil.rmtree(folder)
    return took


def measure_buildkit(make_registry: Factory, folder: Path, requirements: Path) -> dict[str, float]:
    """BuildKit + uv + cache mount, with bytecode: cold, and with one package more."""
    base_tar = debian_root(ROOT / ".cache" / "bench")
    with docker_engine() as engine:
        peer = BuildKitPeer(engine, make_registry().host, folder)
        peer.setup(base_tar, UV)
        return {
            "cold_s": peer.cold(requirements).total_s,
            "one_more_s": peer.one_more(requirements).total_s,
        }


def table(found: dict[str, Any]) -> str:
    """The README's rows: Kitbag, each peer with the ratio to it, the goal."""
    lines = [
        "| 167 packages, 3.3 GB | Kitbag | uv alone | ratio | BuildKit + uv | ratio | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    engine = found.get("buildkit", {})

    def row(what: str, ours: float, uv_s: float | None, engine_s: float | None, goal: str) -> None:
        peers = (
            f"{peer:.1f} s | {ours / peer:.2f}" if peer else "- | -" for peer in (uv_s, engine_s)
        )
        lines.append(f"| {what} | {ours:.2f} s | {' | '.join(peers)} | {goal} |")

    plain, uv = found["without_bytecode"], found["uv"]
    row("cold, without bytecode", plain["cold_s"], uv["plain_s"], None, "≤ 1.15 uv")
    last = plain
    if compiled := found.get("with_bytecode"):
        last = compiled
        row(
            "cold, bytecode compiled",
            compiled["cold_s"],
            uv["compiled_s"],
            engine.get("cold_s"),
            "≤ 2 uv",
        )
    row("one small package more, p50", last["one_more_s"], None, engine.get("one_more_s"), "≤ 1 s")
    alone = (
        ("bytes moved for one more, the most", f"{last['one_more_moved_mb']:.2f} MB", "≤ 5 MB"),
        ("worker's peak memory, cold", f"{last['cold_peak_rss_mb']:.0f} MB", "≤ 512 MB"),
    )
    lines.extend(f"| {what} | {ours} | - | - | - | - | {goal} |" for what, ours, goal in alone)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".cache" / "bench" / "wheels")
    parser.add_argument("--no-buildkit", action="store_true", help="leave the engine out")
    parser.add_argument("--no-bytecode", action="store_true", help="only the first row")
    chosen = parser.parse_args()
    fill(chosen.wheels, [*pins(), *ONE_MORE, *SEEDS])
    found: dict[str, Any] = {"uv": {}}
    with (
        tempfile.TemporaryDirectory() as name,
        registry_factory() as make_registry,
        local_index(chosen.wheels) as index,
    ):
        folder = Path(name)
        requirements = folder / "torch.txt"
        requirements.write_text("\n".join([f"--index-url {index}", *pins(), ""]))
        os.environ["KITBAG_INDEX_URL"] = index
        for bytecode in (False,) if chosen.no_bytecode else (False, True):
            label = "compiled_s" if bytecode else "plain_s"
            found["uv"][label] = measure_uv(folder / "uv", requirements, bytecode=bytecode)
            way = "with_bytecode" if bytecode else "without_bytecode"
            found[way] = measure(make_registry, folder / "kitbag", bytecode=bytecode)
        if not (chosen.no_buildkit or chosen.no_bytecode):
            found["buildkit"] = measure_buildkit(make_registry, folder / "engine", requirements)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
