"""What a node fetches after one package is added, removed or upgraded: the plan's own numbers.

    python bench/plan.py FOLDER [--base-layers N] [--trials N] [--json FILE]

FOLDER holds wheels, whose sizes are what packages are drawn from: `pip download --no-deps --dest
FOLDER -r tests/builder/layers/real-wheels.txt` fetches those of the README. Nothing is built; the
same folder gives the same table. Megabytes, median and worst of the trials, the package's own
bytes included; `own` is the median size of the packages that came or changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from builder.layers.group import OWN_LAYERS, group  # noqa: E402
from builder.model import LockedWheel  # noqa: E402

COUNTS = (10, 100, 300, 1000)
Row = dict[str, Any]
Wheels = Sequence[LockedWheel]
Drawn = Callable[[str], LockedWheel]


def drawn_from(sizes: Sequence[int], chance: random.Random) -> Drawn:
    """Makes a package of that name with the size of a real one."""
    return lambda name: LockedWheel(name, "1", f"{name}.whl", "", name, chance.choice(sizes))


def fetched_bytes(before: Wheels, after: Wheels, base_layers: int) -> int:
    """The wheels in the layers that only the second environment has."""
    there = {each.wheels for each in group(before, base_layers)}
    return sum(
        wheel.size_bytes
        for each in group(after, base_layers)
        if each.wheels not in there
        for wheel in each.wheels
    )


def measured(count: int, draw: Drawn, chance: random.Random, args: argparse.Namespace) -> Row:
    wheels = [draw(f"package-{number}") for number in range(count)]
    found: dict[str, list[int]] = {"own": [], "add": [], "remove": [], "upgrade": []}
    for trial in range(args.trials):
        new = draw(f"new-{trial}")
        old = chance.choice(wheels)
        rest = [wheel for wheel in wheels if wheel is not old]
        size = round(old.size_bytes * chance.uniform(0.9, 1.1))
        next_one = dataclasses.replace(old, version="2", sha256="2", size_bytes=size)
        found["own"] += [new.size_bytes, size]
        found["add"].append(fetched_bytes(wheels, [*wheels, new], args.base_layers))
        found["remove"].append(fetched_bytes(wheels, rest, args.base_layers))
        found["upgrade"].append(fetched_bytes(wheels, [*rest, next_one], args.base_layers))
    return {
        "packages": count,
        "layers": len(group(wheels, args.base_layers)) + args.base_layers + OWN_LAYERS,
        "whole_bytes": sum(wheel.size_bytes for wheel in wheels),
    } | {
        f"{name}_bytes": {"median": statistics.median(values), "worst": max(values)}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base-layers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sizes = sorted(path.stat().st_size for path in args.folder.glob("*.whl"))
    if not sizes:
        parser.error(f"{args.folder} holds no wheels")
    chance = random.Random(1)
    draw = drawn_from(sizes, chance)
    rows = [measured(count, draw, chance, args) for count in COUNTS]
    names = ("own", "add", "remove", "upgrade")
    print("packages | layers | whole | " + " | ".join(f"{name} (worst)" for name in names))
    print("---:|---:|---:|" + "---:|" * len(names))
    for row in rows:
        cells = [row[f"{name}_bytes"] for name in names]
        print(
            f"{row['packages']:,} | {row['layers']} | {row['whole_bytes'] / 1e6:,.0f} MB | "
            + " | ".join(f"{c['median'] / 1e6:.2f} ({c['worst'] / 1e6:.1f})" for c in cells)
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
