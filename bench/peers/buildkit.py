"""The peers: BuildKit + uv as its guides advise, and a plain `docker build` with pip.

    python bench/peers/buildkit.py [--plain] [REQUIREMENTS]

starts a registry and a Docker Engine of its own (as root; see tests/rig), builds the requirements
and pushes them, builds them with one more package, and prints the phases as JSON.

What makes it a fair peer: a cache mount that keeps uv's wheels from build to build, copied rather
than linked since the cache is another file system, bytecode compiled at build time, the base
already in the engine's store and in the registry, and a registry on loopback.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from peers.base import push_base  # noqa: E402
from peers.registry import layers  # noqa: E402
from peers.timing import Timing, one_more, read_phases  # noqa: E402

if TYPE_CHECKING:
    from rig.docker import DockerEngine

_CA = Path("/etc/ssl/certs/ca-certificates.crt")

# uv and the CA bundle are mounted, not copied: neither belongs in the image.
UV_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
RUN --mount=type=cache,target=/var/cache/uv \\
    --mount=type=bind,source=uv,target=/usr/local/bin/uv \\
    --mount=type=bind,source=ca.crt,target=/tmp/ca.crt \\
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \\
    export SSL_CERT_FILE=/tmp/ca.crt UV_LINK_MODE=copy UV_CACHE_DIR=/var/cache/uv \\
    && uv venv /opt/venv \\
    && uv pip install --python /opt/venv --compile-bytecode -r /tmp/requirements.txt
ENV PATH=/opt/venv/bin:$PATH
"""

_PIP = """\
ARG BASE
FROM ${BASE}
COPY ca.crt /usr/local/share/ca.crt
COPY requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/venv \\
    && /opt/venv/bin/pip install --no-cache-dir --cert /usr/local/share/ca.crt \\
       -r /tmp/requirements.txt
ENV PATH=/opt/venv/bin:$PATH
"""


class Peer:
    """One way of building with a Docker Engine and pushing with it."""

    name = "peer"
    dockerfile = UV_DOCKERFILE
    buildkit = True

    def __init__(self, engine: DockerEngine, registry_host: str, folder: Path) -> None:
        self._engine = engine
        self._registry = registry_host
        self._context = folder
        self._base = ""

    def setup(self, base_tar: Path, uv: Path) -> None:
        """Put the base into the engine and the registry, and the tools into the context."""
        self._base = push_base(self._engine, self._registry, base_tar)
        fill_context(self._context, self.dockerfile, uv)

    def cold(self, requirements: Path) -> Timing:
        """Build with every cache empty and push."""
        self._engine.docker("builder", "prune", "--all", "--force")
        return self._build_and_push(requirements, "cold")

    def one_more(self, requirements: Path) -> Timing:
        """Build the requirements with one package more, on what `cold` left behind, and push."""
        return self._build_and_push(one_more(requirements, self._context), "more")

    def _build_and_push(self, requirements: Path, tag: str) -> Timing:
        reference = f"{self._registry}/peers/{self.name}:{tag}"
        shutil.copy(requirements, self._context / "requirements.txt")
        start = time.monotonic()
        built = self._engine.docker(
            *("build", "--network=host", f"--build-arg=BASE={self._base}", "--tag", reference),
            *(("--progress=plain",) if self.buildkit else ()),
            str(self._context),
            env={"DOCKER_BUILDKIT": "1" if self.buildkit else "0"},
            timeout_s=900,
        )
        middle = time.monotonic()
        pushed = self._engine.docker("push", reference, timeout_s=900)
        end = time.monotonic()
        phases = {"build": middle - start, "push": end - middle}
        phases |= read_phases(built.stdout + built.stderr)
        new = len(re.findall(": Pushed", pushed.stdout))
        sizes = layers(self._registry, reference)
        return Timing(end - start, phases, sum(sizes[len(sizes) - new :]), reference)


class BuildKitPeer(Peer):
    """BuildKit, uv, a cache mount, compiled bytecode."""

    name = "buildkit-uv"


class PlainPeer(Peer):
    """The classic builder and pip, as most Dockerfiles still have it."""

    name = "docker-pip"
    dockerfile = _PIP
    buildkit = False


def fill_context(folder: Path, dockerfile: str, uv: Path) -> None:
    """Put a Dockerfile and what it mounts into a build context."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(uv, folder / "uv")
    shutil.copy(_CA, folder / "ca.crt")
    (folder / "Dockerfile").write_text(dockerfile)


def main() -> None:
    from rig.docker import docker_engine
    from rig.registry import registry_factory
    from rig.root import debian_root

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requirements", nargs="?", type=Path, default=ROOT / "bench/notebook.txt")
    parser.add_argument("--plain", action="store_true", help="docker build + pip instead")
    chosen = parser.parse_args()
    uv = Path(sys.executable).with_name("uv")
    base = debian_root(ROOT / ".cache/bench")
    with (
        tempfile.TemporaryDirectory() as folder,
        registry_factory() as make_registry,
        docker_engine() as engine,
    ):
        way = PlainPeer if chosen.plain else BuildKitPeer
        peer = way(engine, make_registry().host, Path(folder))
        peer.setup(base, uv)
        runs = {"cold": peer.cold(chosen.requirements)}
        if not chosen.plain:
            runs["one_more"] = peer.one_more(chosen.requirements)
        json.dump({name: asdict(run) for name, run in runs.items()}, sys.stdout, indent=2)
        print()


if __name__ == "__main__":
    main()
