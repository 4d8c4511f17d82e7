"""Layers as spliced gzip and as Zstandard: bytes, seconds to make, and seconds to inflate again.

    python bench/zstd.py [--json FILE] WHEEL…

The wheels of an environment become the layers that a build would make of them, without bytecode, on
a base of one layer, one after the other, packing on as many threads as there are cores.
`uv pip download`, or `pip download --no-deps --dest FOLDER -r bench/notebook.txt`, fetches the set
of the README. Seconds of the wall; megabytes; inflating is by the programs `gzip` and `zstd`, as
some engines do it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from builder.download import Downloader  # noqa: E402
from builder.layers import zst  # noqa: E402
from builder.layers.cache import LayerCache, Recipe  # noqa: E402
from builder.layers.group import group  # noqa: E402
from builder.making import Maker  # noqa: E402
from builder.model import LockedWheel  # noqa: E402
from builder.source import HostPolicy  # noqa: E402

PREFIX, PYTHON = "/opt/env", "3.11"


class Here(Downloader):
    """Wheels that are on this disk already."""

    def __init__(self, folder: Path, paths: dict[str, Path]) -> None:
        super().__init__(folder, HostPolicy(private=True))
        self._paths = paths

    @contextmanager
    def wheel(
        self,
        wanted: LockedWheel,
        check: Callable[[int], None] = lambda _: None,  # noqa: ARG002
    ) -> Iterator[Path]:
        yield self._paths[wanted.filename]


def locked(path: Path) -> LockedWheel:
    name, version, _, _ = parse_wheel_filename(path.name)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return LockedWheel(name, str(version), path.name, "", sha256, path.stat().st_size)


def made(maker: Maker, wheels: list[LockedWheel]) -> tuple[list[Path], float]:
    """The layer files, and the seconds that they took."""
    began = time.perf_counter()
    groups = group(wheels, 1)
    begun: list[list[Future[str]]] = [maker.begin(each.wheels) for each in groups]
    files = [maker.layer(each.wheels, keys)[0] for each, keys in zip(groups, begun, strict=True)]
    return files, time.perf_counter() - began


def inflated_s(files: list[Path], program: str) -> float:
    began = time.perf_counter()
    for path in files:
        with path.open("rb") as file:
            subprocess.run([program, "-dqc"], stdin=file, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    parser.add_argument("wheels", nargs="+", type=Path)
    args = parser.parse_args()
    wheels = [locked(path) for path in sorted(args.wheels)]
    paths = {path.name: path for path in args.wheels}
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache, here = LayerCache(folder / "layers"), Here(folder / "wheels", paths)
        for row, packer, program in (("gzip", None, "gzip"), ("zstd", zst.PACKER, "zstd")):
            recipe = Recipe(PREFIX, PYTHON, None, packer)
            # The second finds what the first spliced: its seconds are the packing alone.
            with Maker(recipe, cache, here, None, lambda: None, lambda _: None) as maker:
                files, seconds = made(maker, wheels)
            table[row] = {
                "MB": sum(path.stat().st_size for path in files) / 1e6,
                "made_s": seconds,
                "inflated_s": inflated_s(files, program),
            }
        here.close()
    table["zstd / gzip"] = {
        column: table["zstd"][column] / table["gzip"][column] for column in table["gzip"]
    }
    print(f"| {len(wheels)} wheels | MB | made, s | inflated, s |\n|---|---|---|---|")
    for row, found in table.items():
        print(f"| {row} | " + " | ".join(f"{value:.2f}" for value in found.values()) + " |")
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
