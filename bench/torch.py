"""The torch set, 167 packages and 3.3 GB: Kitbag against uv alone and BuildKit + uv, in one run.

    python bench/torch.py [line] [plain] [compiled] [engine] [more] [--json FILE] [--wheels FOLDER]

As root. The wheels are fetched once into FOLDER (.cache/bench/wheels, 3.3 GB); from there an index
on loopback serves every side, each with a cold cache of its own, on a disk that has settled.
Kitbag's time is from the request to the digest in a local registry. uv's is `uv pip sync` of the
same pins into a new environment: no image, no push. `plain` is both without bytecode, as fast as
loopback is, `line` the same over 1 Gbit/s, `compiled` both with it, `engine` Kitbag and BuildKit +
uv, both with it, `more` the same two with one package more; each can be run alone, and FILE keeps
what an earlier run has measured. A run takes some 30 GB of disk for a while. Quote the ratios: the
machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from notebook import ONE_MORE, kitbag  # noqa: E402
from peers.buildkit import BuildKitPeer  # noqa: E402
from peers.index import fill, local_index  # noqa: E402
from peers.memory import watched  # noqa: E402
from peers.uv import UvPeer  # noqa: E402
from rig.docker import docker_engine  # noqa: E402
from rig.registry import Factory, registry_factory  # noqa: E402
from rig.root import debian_root  # noqa: E402

SET = ROOT / "bench" / "torch.txt"
SEEDS = ("pip==26.0", "wheel==0.45.1")
"""What Kitbag adds to a set, and what its first build, not measured, holds."""
UV = Path(sys.executable).with_name("uv")
ROWS = ("line", "plain", "compiled", "engine", "more")
LINE_MB_S = 125


def pins() -> list[str]:
    """The set's requirements without comments."""
    return [line for line in SET.read_text().splitlines() if line and not line.startswith("#")]


@contextmanager
def settled(folder: Path) -> Iterator[Path]:
    """An empty folder, removed afterwards; what others wrote before is on the disk."""
    folder.mkdir()
    os.sync()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def measure(make_registry: Factory, folder: Path, *, bytecode: bool) -> dict[str, Any]:
    """Kitbag cold, then with one small package more, on a registry of its own."""
    wanted = "\n".join(pins())
    with (
        settled(folder),
        kitbag(folder, make_registry().host, bytecode=bytecode) as server,
        watched(server.pid) as peaks,
    ):
        cold_s, build = server.build(wanted, "bench/torch")
        found: dict[str, Any] = {"cold_s": cold_s, "phases_s": build["stats"]["seconds"]}
        found["image_bytes"] = build["stats"]["image_bytes"]
        times, moved = [], []
        for package in ONE_MORE:
            took, build = server.build(f"{wanted}\n{package}\n", "bench/torch")
            times.append(took)
            moved.append(build["stats"]["bytes_moved"])
    found["one_more_s"] = {"p50": statistics.median(times), "max": max(times), "runs": len(times)}
    found["one_more_moved_mb"] = max(moved) / 1e6
    found["peak_rss_mb"] = peaks.megabytes
    return found


def measure_uv(folder: Path, requirements: Path, *, bytecode: bool) -> float:
    """Seconds of uv with a cold cache."""
    with settled(folder):
        return UvPeer(UV, folder, bytecode=bytecode).sync(requirements).total_s


def measure_engine(
    make_registry: Factory, folder: Path, requirements: Path, *, more: bool
) -> dict[str, float]:
    """BuildKit + uv + cache mount, with bytecode: cold, or with one package more after that."""
    base_tar = debian_root(ROOT / ".cache" / "bench")
    with settled(folder), docker_engine() as engine:
        peer = BuildKitPeer(engine, make_registry().host, folder)
        peer.setup(base_tar, UV)
        cold_s = peer.cold(requirements).total_s
        os.sync()
        return {"engine_s": peer.one_more(requirements).total_s if more else cold_s}


def measured(row: str, make_registry: Factory, folder: Path, index: str) -> dict[str, Any]:
    """One row: the peer, then Kitbag, from the same index."""
    requirements = folder / "torch.txt"
    requirements.write_text("\n".join([f"--index-url {index}", *pins(), ""]))
    os.environ["KITBAG_INDEX_URL"] = index
    compiled = row not in ("line", "plain")
    if row in ("engine", "more"):
        engine, more = folder / "engine", row == "more"
        peer = measure_engine(make_registry, engine, requirements, more=more)
    else:
        peer = {"uv_s": measure_uv(folder / "uv", requirements, bytecode=compiled)}
    return {"kitbag": measure(make_registry, folder / "kitbag", bytecode=compiled), **peer}


def table(found: dict[str, Any]) -> str:
    """The README's rows: Kitbag, each peer with the ratio to it, the goal."""
    lines = [
        "| 167 packages, 3.3 GB | Kitbag | peer | | ratio | goal |",
        "|---|---|---|---|---|---|",
    ]

    def compared(what: str, ours: float, peer: str, theirs: float, goal: str) -> None:
        ratio = f"{ours / theirs:.2f}" if ours > 0.1 * theirs else f"1/{theirs / ours:.0f}"
        lines.append(f"| {what} | {ours:.2f} s | {peer} | {theirs:.1f} s | {ratio} | {goal} |")

    goals = {
        "line": ("without bytecode, over 1 Gbit/s", "≤ 1.15"),
        "plain": ("without bytecode", "≤ 1.15"),
        "compiled": ("bytecode compiled", "≤ 2"),
    }
    for row in (row for row in goals if row in found):
        what, goal = goals[row]
        ours, uv_s = found[row]["kitbag"], found[row]["uv_s"]
        compared(f"cold, {what}", ours["cold_s"], "uv alone", uv_s, goal)
    peer = "BuildKit + uv"
    if row := found.get("engine"):
        ours, theirs = row["kitbag"]["cold_s"], row["engine_s"]
        compared("cold, bytecode compiled", ours, peer, theirs, "-")
    if row := found.get("more"):
        ours, theirs = row["kitbag"]["one_more_s"]["p50"], row["engine_s"]
        compared("one small package more, p50", ours, peer, theirs, "≤ 1 s")
    sides = {row: found[row]["kitbag"] for row in ROWS if row in found}
    for row, ours in sides.items():
        more, moved = ours["one_more_s"], ours["one_more_moved_mb"]
        kind, peak = max(ours["peak_rss_mb"].items(), key=lambda item: item[1])
        alone = (
            (
                "one small package more, p50 (worst)",
                f"{more['p50']:.2f} ({more['max']:.2f}) s",
                "1 s",
            ),
            ("bytes moved for it, the most", f"{moved:.2f} MB", "5 MB"),
            ("the largest process", f"{peak:.0f} MB ({kind})", "512 MB"),
        )
        lines += [
            f"| {what}, `{row}` | {value} | - | - | - | ≤ {goal} |" for what, value, goal in alone
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; all unless given")
    parser.add_argument("--json", type=Path, help="where every figure is kept from run to run")
    parser.add_argument("--wheels", type=Path, default=ROOT / ".cache" / "bench" / "wheels")
    chosen = parser.parse_args()
    if unknown := set(chosen.rows) - set(ROWS):
        parser.error(f"there is no row {min(unknown)!r}: {', '.join(ROWS)}")
    fill(chosen.wheels, [*pins(), *ONE_MORE, *SEEDS])
    before = chosen.json and chosen.json.exists()
    found: dict[str, Any] = json.loads(chosen.json.read_text()) if before else {}
    with tempfile.TemporaryDirectory() as name, registry_factory() as make_registry:
        for row in chosen.rows or ROWS:
            with local_index(chosen.wheels, LINE_MB_S if row == "line" else None) as index:
                found[row] = measured(row, make_registry, Path(name), index)
            if chosen.json:
                chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
