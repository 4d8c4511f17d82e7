"""A repository with requirements, apt.txt and postBuild: Kitbag against repo2docker's own command.

    python bench/binder.py [--changes N] [--json FILE]

As root it starts a registry, one Docker Engine and a Kitbag server that uses it. Both sides build
on the same base in the same engine and push to the same registry; times are to the digest there.

repo2docker's Python buildpack installs conda first, from channels that are not within reach here,
so the peer is what repo2docker does at best: its command on the same repository with a Dockerfile
that installs the same packages by apt and pip, in the order that caches best. It calls `docker
buildx`, which Debian's engine has not; a script of three lines hands that to the engine's BuildKit.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from rig.docker import CA_BUNDLE, DockerEngine, docker_engine  # noqa: E402
from rig.process import free_port  # noqa: E402
from rig.registry import registry_factory  # noqa: E402

BASES = ROOT / ".cache" / "kitbag" / "bases"
REQUIREMENTS = "jupyterlab==4.4.9\npandas==2.3.2\nmatplotlib==3.10.6\nhumanize=={}\n"
VERSIONS = ("4.9.0", "4.10.0", "4.11.0")
FILES = {
    "apt.txt": "graphviz\n",
    "postBuild": "#!/bin/sh\nset -e\npython -c 'import pandas, matplotlib.pyplot'\ndot -V\n",
    "one.ipynb": '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n',
}
DOCKERFILE = """\
FROM {base}
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends graphviz \\
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /srv/env && install -o 1000 -d /srv/repo && chown -R 1000 /srv/env
ENV PATH=/srv/env/bin:$PATH HOME=/tmp
USER 1000
WORKDIR /srv/repo
COPY ca.crt requirements.txt ./
RUN pip install --no-cache-dir --cert ca.crt -r requirements.txt
COPY . .
RUN sh ./postBuild
"""
SHIM = """\
#!/bin/sh
[ "$1 $2" = "buildx version" ] && exit 0
[ "$1 $2" = "buildx build" ] && shift 2 && DOCKER_BUILDKIT=1 exec {docker} build --network host \
  $(printf '%s\\n' "$@" | grep -v -x -e --load)
exec {docker} "$@"
"""


class Kitbag:
    """A running server, asked as any client would."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=900)

    def build(self, files: Mapping[str, str], name: str) -> float:
        """Seconds from the request to the end of the build."""
        began = time.monotonic()
        body = {"environment": name, "source": {"files": dict(files)}}
        build = self._http.post("/v1/builds", json=body).raise_for_status().json()
        with self._http.stream("GET", build["events"]) as events:
            for line in events.iter_lines():
                if line.startswith("event: done"):
                    break
        took = time.monotonic() - began
        ended = self._http.get(f"/v1/builds/{build['id']}").json()
        if ended["state"] != "ready":
            raise SystemExit(f"The build of {name} failed: {ended['error']}")
        return took

    def base(self) -> str:
        """The image that `auto` means."""
        listed = self._http.get("/v1/bases").json()["items"]
        return next(str(each["image"]) for each in listed if each["name"] == "auto")


@contextmanager
def kitbag(folder: Path, registry: str, engine: DockerEngine) -> Iterator[Kitbag]:
    """A server with empty caches, but for the base, that drives the engine."""
    if BASES.is_dir():
        shutil.copytree(BASES, folder / "cache" / "bases")
    port = free_port()
    environ = os.environ | {
        "KITBAG_STORE": f"registry://{registry}/kitbag",
        "KITBAG_CACHE": str(folder / "cache"),
        "KITBAG_ENGINE": "docker",
        "KITBAG_ENGINE_ADDRESS": engine.host,
        "KITBAG_ENGINE_NETWORK": "host",
        "KITBAG_CA_BUNDLE": str(CA_BUNDLE),
        "KITBAG_BINDER_PACKAGES": "",
    }
    command = [sys.executable, "-m", "server", "up", "--port", str(port), "--data", str(folder)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environ, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        if " is up at " not in (line := process.stderr.readline()):
            raise SystemExit(line)
        try:
            running = Kitbag(f"http://127.0.0.1:{port}")
            running.build({"requirements.txt": "wheel\n"}, "bench/warm-up")
            if not BASES.is_dir():
                shutil.copytree(folder / "cache" / "bases", BASES)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)


class Repo2docker:
    """repo2docker's command on one folder, then a push."""

    def __init__(self, folder: Path, registry: str, engine: DockerEngine, base: str) -> None:
        self._folder, self._engine = folder / "repo", engine
        self._image, self._count = f"{registry}/peer/repo", 0
        self._folder.mkdir(parents=True)
        (self._folder / "Dockerfile").write_text(DOCKERFILE.format(base=base))
        shutil.copyfile(CA_BUNDLE, self._folder / "ca.crt")
        for name, text in FILES.items():
            (self._folder / name).write_text(text)
        shim = folder / "bin" / "docker"
        shim.parent.mkdir()
        shim.write_text(SHIM.format(docker="/usr/bin/docker"))
        shim.chmod(0o755)
        self._environ = os.environ | {
            "DOCKER_HOST": engine.host,
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
        }

    def build(self, requirements: str) -> float:
        """Seconds until the image is in the registry."""
        (self._folder / "requirements.txt").write_text(requirements)
        self._count += 1  # of a name that the engine has already, repo2docker takes what is there
        image = f"{self._image}:{self._count}"
        command = [
            str(Path(sys.executable).with_name("repo2docker")),
            *("--no-run", "--user-id", "1000", "--user-name", "jovyan"),
            *("--image-name", image, str(self._folder)),
        ]
        began = time.monotonic()
        done = subprocess.run(
            command, env=self._environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"repo2docker failed:\n{done.stderr[-3000:]}")
        self._engine.docker("push", image)
        return time.monotonic() - began


def measure(folder: Path, changes: int) -> dict[str, dict[str, float]]:
    """Both sides, in seconds; `changes` is how often a line changes, and the median is told."""
    with registry_factory() as make_registry, docker_engine() as engine:
        registry = make_registry().host
        with kitbag(folder / "kitbag", registry, engine) as server:
            base = server.base()
            engine.docker("pull", base)
            peer = Repo2docker(folder / "peer", registry, engine, base)
            files = FILES | {"requirements.txt": REQUIREMENTS.format(VERSIONS[0])}
            found: dict[str, dict[str, float]] = {"kitbag": {}, "repo2docker": {}}

            def note(side: str, step: str, seconds: float) -> None:
                # What there is when a run is cut off is told, too.
                print(f"{side}, {step}: {seconds:.1f} s", file=sys.stderr, flush=True)
                found[side][step] = seconds

            note("kitbag", "cold", server.build(files, "bench/binder"))
            note("repo2docker", "cold", peer.build(files["requirements.txt"]))
            note("kitbag", "warm", server.build(files, "bench/other"))
            note("repo2docker", "warm", peer.build(files["requirements.txt"]))
            changed: tuple[list[float], list[float]] = ([], [])
            for version in VERSIONS[1 : changes + 1]:
                wanted = REQUIREMENTS.format(version)
                changed[0].append(
                    server.build(files | {"requirements.txt": wanted}, "bench/binder")
                )
                note("kitbag", f"humanize {version}", changed[0][-1])
                changed[1].append(peer.build(wanted))
                note("repo2docker", f"humanize {version}", changed[1][-1])
            note("kitbag", "one changed", statistics.median(changed[0]))
            note("repo2docker", "one changed", statistics.median(changed[1]))
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a step, with the ratio and the goal."""
    goals = {"cold": "≤ 0.7", "warm": "-", "one changed": "≤ 0.2"}
    rows = ["| | Kitbag | repo2docker | ratio | goal |", "|---|---|---|---|---|"]
    for step, goal in goals.items():
        ours, theirs = found["kitbag"][step], found["repo2docker"][step]
        rows.append(f"| {step} | {ours:.1f} s | {theirs:.1f} s | {ours / theirs:.2f} | {goal} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    most = len(VERSIONS) - 1
    parser.add_argument("--changes", type=int, choices=range(1, most + 1), default=most)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), chosen.changes)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
