"""The floor: uv alone, from the same lock into a fresh virtual environment, with no image at all.

    python bench/peers/uv.py [--no-bytecode] [REQUIREMENTS]

prints, as JSON, a run with an empty cache, one with the full cache, and one with one package more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path.insert(0, str(ROOT / "bench"))

from peers.timing import Timing, one_more, read_phases  # noqa: E402


class UvPeer:
    """`uv pip sync` into a new environment of this interpreter, with a cache of its own."""

    def __init__(self, uv: Path, folder: Path, *, bytecode: bool) -> None:
        self._uv = uv
        self._folder = folder
        self._options = ["--compile-bytecode"] if bytecode else []
        self._count = 0

    def sync(self, requirements: Path) -> Timing:
        """Make an environment and sync it; the cache keeps what it fetched for the next call."""
        self._count += 1
        venv = self._folder / f"venv-{self._count}"
        env = {k: v for k, v in os.environ.items() if not k.startswith("UV_")}
        env |= {"UV_CACHE_DIR": str(self._folder / "cache"), "UV_NO_CONFIG": "1"}
        start = time.monotonic()
        self._run(env, "venv", "--python", sys.executable, str(venv))
        told = self._run(
            env, "pip", "sync", "--python", str(venv), *self._options, str(requirements)
        )
        return Timing(time.monotonic() - start, read_phases(told))

    def one_more(self, requirements: Path) -> Timing:
        """Sync the requirements with one package more."""
        return self.sync(one_more(requirements, self._folder))

    def _run(self, env: dict[str, str], *args: str) -> str:
        argv = [str(self._uv), *args]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} failed: {done.stderr}")
        return done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requirements", nargs="?", type=Path, default=ROOT / "bench/notebook.txt")
    parser.add_argument("--no-bytecode", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uv = Path(sys.executable).with_name("uv")
        peer = UvPeer(uv, Path(folder), bytecode=not chosen.no_bytecode)
        runs = {
            "cold": peer.sync(chosen.requirements),
            "warm": peer.sync(chosen.requirements),
            "one_more": peer.one_more(chosen.requirements),
        }
        json.dump({name: asdict(run) for name, run in runs.items()}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
