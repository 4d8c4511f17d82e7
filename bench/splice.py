"""How many bytes one core splices: wheel to layer with both digests, against what it consists of.

    python bench/splice.py [--json FILE] WHEEL…

Each way goes over the same wheels in one thread, and its processor time counts, so that a busy
machine changes little: a splice without bytecode into nowhere; a SHA-256 of the contents, the least
that a diff_id costs; an inflate of the contents by isal and by the standard library's zlib.
Throughput is in MB of installed contents a processor second.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from isal import isal_zlib

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from builder.layers import install, splice, wheel  # noqa: E402

PREFIX = install.Prefix("/opt/kitbag", "3.11")
CHUNK_BYTES = 256 << 10
ROUNDS = 3


def spliced(path: Path) -> None:
    """A layer of the wheel, as a build makes it; the write itself is left out."""
    with Path("/dev/null").open("wb") as nowhere, ThreadPoolExecutor(1) as unused:
        splice.write_wheel(nowhere, wheel.read(path), PREFIX, None, unused)


def inflated(make: Callable[[int], Any], path: Path) -> None:
    """Every packed entry through one inflater, and nothing else done with it."""
    for packed in entries(path):
        stream = make(-15)
        for start in range(0, len(packed), CHUNK_BYTES):
            stream.decompress(packed[start : start + CHUNK_BYTES])


def entries(path: Path) -> list[memoryview]:
    """The archived bytes of the wheel's packed entries."""
    data = memoryview(path.read_bytes())
    return [
        data[entry.offset : entry.offset + entry.packed_bytes]
        for entry in wheel.read(path).entries
        if not entry.stored
    ]


def hashed(size_bytes: int) -> None:
    """As many bytes as the contents have, through SHA-256; what they are changes nothing."""
    digest, chunk = hashlib.sha256(), bytes(CHUNK_BYTES)
    for _ in range(size_bytes // CHUNK_BYTES):
        digest.update(chunk)


def measure(paths: list[Path]) -> dict[str, float]:
    """MB of contents a processor second for each way, the best of a few rounds."""
    size_bytes = {
        path: sum(entry.size_bytes for entry in wheel.read(path).entries) for path in paths
    }
    ways: dict[str, Callable[[Path], None]] = {
        "splice": spliced,
        "sha256": lambda path: hashed(size_bytes[path]),
        "isal inflate": partial(inflated, isal_zlib.decompressobj),
        "zlib inflate": partial(inflated, zlib.decompressobj),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.process_time()
            for path in paths:
                way(path)
            best[name] = min(best[name], time.process_time() - began)
    return {name: sum(size_bytes.values()) / 1e6 / took for name, took in best.items()}


def table(found: dict[str, float]) -> str:
    """The README's rows."""
    rows = ["| one core, installed contents | MB/s | splice ÷ it |", "|---|---|---|"]
    for name, speed in found.items():
        rows.append(f"| {name} | {speed:.0f} | {found['splice'] / speed:.2f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    chosen = parser.parse_args()
    found = measure(chosen.wheels)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
