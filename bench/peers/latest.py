"""The strongest peer: today's BuildKit on its own, which compresses and pushes by itself.

    python bench/peers/latest.py [--zstd] [REQUIREMENTS]

builds `buildkitd` and `buildctl` with the Go toolchain from the module `peers/buildkitd` (minutes,
once; kept in `.cache/bench`), then does what `buildkit.py` does, and prints the same JSON. A Docker
Engine is only used to put the base into the registry.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from peers.base import push_base  # noqa: E402
from peers.buildkit import UV_DOCKERFILE, fill_context  # noqa: E402
from peers.registry import layers  # noqa: E402
from peers.timing import Timing, one_more, read_phases  # noqa: E402

_MODULE = Path(__file__).with_name("buildkitd")
_COMMANDS = "github.com/moby/buildkit/cmd"


def build_binaries(cache: Path) -> Path:
    """Compile the daemon and its client into `cache`, unless they are there; returns the folder."""
    folder = cache / "buildkitd"
    if not (folder / "buildkitd").exists():
        made = tempfile.mkdtemp(dir=cache)
        subprocess.run(
            [
                "go",
                "build",
                "-trimpath",
                "-o",
                made,
                f"{_COMMANDS}/buildkitd",
                f"{_COMMANDS}/buildctl",
            ],
            cwd=_MODULE,
            check=True,
        )
        Path(made).rename(folder)
    return folder


class LatestPeer:
    """A `buildkitd` on a socket of its own, given what `BuildKitPeer` is given."""

    def __init__(self, buildctl: Path, address: str, registry_host: str, folder: Path) -> None:
        self._buildctl = [str(buildctl), "--addr", address]
        self._registry = registry_host
        self._context = folder
        self._base = ""
        self.compression = "gzip"

    def setup(self, base: str, uv: Path) -> None:
        """Say which image of the registry to build on, and put the tools into the context."""
        self._base = base
        fill_context(self._context, UV_DOCKERFILE, uv)

    def cold(self, requirements: Path) -> Timing:
        """Build with every cache empty but the base's, and push."""
        self._run("prune", "--all")
        (self._context / "base").mkdir(exist_ok=True)
        (self._context / "base/Dockerfile").write_text(f"FROM {self._base}\nRUN true\n")
        self._build(self._context / "base")
        return self._build_and_push(requirements, "cold")

    def one_more(self, requirements: Path) -> Timing:
        """Build the requirements with one package more, on what `cold` left behind, and push."""
        return self._build_and_push(one_more(requirements, self._context), "more")

    def _build_and_push(self, requirements: Path, tag: str) -> Timing:
        reference = f"{self._registry}/peers/latest-buildkit:{tag}"
        shutil.copy(requirements, self._context / "requirements.txt")
        start = time.monotonic()
        output = f"type=image,name={reference},push=true,compression={self.compression}"
        told = self._build(self._context, f"--opt=build-arg:BASE={self._base}", "--output", output)
        total = time.monotonic() - start
        sizes = layers(self._registry, reference)
        return Timing(total, read_phases(told), sizes[-1], reference)

    def _build(self, folder: Path, *options: str) -> str:
        context = [f"--local=context={folder}", f"--local=dockerfile={folder}"]
        frontend = ["--frontend=dockerfile.v0", "--progress=plain"]
        return self._run("build", *frontend, *context, *options)

    def _run(self, *args: str) -> str:
        argv = [*self._buildctl, *args]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)} failed:\n{done.stderr}")
        return done.stderr


@contextmanager
def latest_buildkit(binaries: Path, registry_host: str, folder: Path) -> Iterator[str]:
    """Run the daemon with its state in `folder`; yields its address."""
    from rig.process import Daemon

    socket = folder / "buildkitd.sock"
    config = folder / "buildkitd.toml"
    config.write_text(f'[registry."{registry_host}"]\nhttp = true\n')
    buildctl = [str(binaries / "buildctl"), "--addr", f"unix://{socket}"]
    daemon = Daemon(
        [
            *(str(binaries / "buildkitd"), f"--config={config}", f"--root={folder / 'state'}"),
            *(f"--addr=unix://{socket}", "--containerd-worker=false"),
            *("--oci-worker-snapshotter=overlayfs", "--oci-worker-net=host"),
        ],
        log=folder / "log",
        ready=lambda: (
            subprocess.run([*buildctl, "debug", "workers"], capture_output=True).returncode == 0
        ),
        env={**os.environ, "BUILDKIT_SETUP_CGROUPV2_ROOT": "0"},
    )
    daemon.start()
    try:
        yield f"unix://{socket}"
    finally:
        daemon.stop()


def main() -> None:
    from rig.docker import docker_engine
    from rig.process import temp_dir
    from rig.registry import registry_factory
    from rig.root import debian_root

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requirements", nargs="?", type=Path, default=ROOT / "bench/notebook.txt")
    parser.add_argument("--zstd", action="store_true", help="zstd layers instead of gzip")
    chosen = parser.parse_args()
    cache = ROOT / ".cache/bench"
    base_tar = debian_root(cache)
    binaries = build_binaries(cache)
    with registry_factory() as make_registry, temp_dir("buildkit") as folder:
        host = make_registry().host
        with docker_engine() as engine:
            base = push_base(engine, host, base_tar)
        with latest_buildkit(binaries, host, folder) as address:
            peer = LatestPeer(binaries / "buildctl", address, host, folder / "context")
            if chosen.zstd:
                peer.compression = "zstd"
            peer.setup(base, Path(sys.executable).with_name("uv"))
            runs = {
                "cold": peer.cold(chosen.requirements),
                "one_more": peer.one_more(chosen.requirements),
            }
            json.dump({name: asdict(run) for name, run in runs.items()}, sys.stdout, indent=2)
            print()


if __name__ == "__main__":
    main()
