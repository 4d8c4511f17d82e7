"""The numbers of the README: Kitbag against BuildKit + uv, the same set, registry and run.

    python bench/notebook.py [--json FILE] [--no-peer] [--zstd]

As root it starts a registry, a Docker Engine for the peer, and two Kitbag servers (with and without
bytecode) that push to that registry; every Kitbag figure is measured through the API, from the
request to the digest in the registry. `--zstd` measures the strongest peer too, a current buildkitd
with zstd layers, which it compiles once with Go. Quote the ratios: the machine is shared.
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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tests")]

from peers.base import push_base  # noqa: E402
from peers.buildkit import BuildKitPeer  # noqa: E402
from peers.latest import LatestPeer, build_binaries, latest_buildkit  # noqa: E402
from peers.memory import watched  # noqa: E402
from rig.docker import docker_engine  # noqa: E402
from rig.process import free_port, temp_dir  # noqa: E402
from rig.registry import Factory, registry_factory  # noqa: E402
from rig.root import debian_root  # noqa: E402

SET = ROOT / "bench" / "notebook.txt"
ONE_MORE = (
    "humanize==4.9.0",
    "tabulate==0.9.0",
    "toolz==1.0.0",
    "colorama==0.4.6",
    "inflection==0.5.1",
    "xmltodict==0.14.2",
    "termcolor==2.5.0",
    "pyfiglet==1.0.2",
    "natsort==8.4.0",
)
DROPPED = ("seaborn", "matplotlib", "scikit-learn", "joblib", "threadpoolctl", "contourpy")
BASES = ROOT / ".cache" / "kitbag" / "bases"


class Kitbag:
    """A running server, asked as any client would."""

    def __init__(self, url: str, pid: int) -> None:
        self._http = httpx.Client(base_url=url, timeout=900)
        self.pid = pid

    def build(self, requirements: str, name: str) -> tuple[float, dict[str, Any]]:
        """Seconds from the request to `done`, and the build."""
        started = time.monotonic()
        build = self.post(requirements, name).json()
        with self._http.stream("GET", build["events"]) as events:
            for line in events.iter_lines():
                if line.startswith("event: done"):
                    break
        took = time.monotonic() - started
        build = self._http.get(f"/v1/builds/{build['id']}").json()
        if build["state"] != "ready":
            raise SystemExit(f"The build of {name} failed: {build['error']}")
        return took, build

    def post(self, requirements: str, name: str) -> httpx.Response:
        """One request, answered."""
        body = {"environment": name, "source": {"files": {"requirements.txt": requirements}}}
        return self._http.post("/v1/builds", json=body)

    def version(self, name: str) -> dict[str, Any]:
        """The latest version with its layers."""
        answer: dict[str, Any] = self._http.get(f"/v1/environments/{name}/versions/latest").json()
        return answer


@contextmanager
def kitbag(folder: Path, registry_host: str, *, bytecode: bool) -> Iterator[Kitbag]:
    """A server with empty caches, but for the base, that pushes to the registry."""
    cache = folder / "cache"
    if BASES.is_dir():
        shutil.copytree(BASES, cache / "bases")
    port = free_port()
    environ = os.environ | {
        "KITBAG_STORE": f"registry://{registry_host}/kitbag-{int(bytecode)}",
        "KITBAG_CACHE": str(cache),
        "KITBAG_BYTECODE": str(bytecode).lower(),
    }
    command = [sys.executable, "-m", "server", "up", "--port", str(port), "--data", str(folder)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environ, cwd=ROOT
    ) as process:
        assert process.stderr is not None
        if " is up at " not in (line := process.stderr.readline()):
            raise SystemExit(line)
        try:
            running = Kitbag(f"http://127.0.0.1:{port}", process.pid)
            running.build("wheel", "bench/warm-up")  # the base is in the registry from here on
            if not BASES.is_dir():
                shutil.copytree(cache / "bases", BASES)
            yield running
        finally:
            process.send_signal(signal.SIGTERM)


def measure(registry_host: str, folder: Path) -> dict[str, Any]:
    """Kitbag's side."""
    wanted = SET.read_text()
    found: dict[str, Any] = {}
    with kitbag(folder / "plain", registry_host, bytecode=False) as server:
        found["cold_without_bytecode_s"], build = server.build(wanted, "bench/notebook")
        found["cold_without_bytecode_phases_s"] = build["stats"]["seconds"]
    with (
        kitbag(folder / "compiled", registry_host, bytecode=True) as server,
        watched(server.pid) as peaks,
    ):
        found["cold_s"], build = server.build(wanted, "bench/notebook")
        found["cold_phases_s"] = build["stats"]["seconds"]
        before = {layer["digest"] for layer in server.version("bench/notebook")["layers"]}
        times, over = [], []
        for package in ONE_MORE:
            took, build = server.build(f"{wanted}\n{package}\n", "bench/notebook")
            layers = server.version("bench/notebook")["layers"]
            changed = sum(item["size_bytes"] for item in layers if item["digest"] not in before)
            before = {layer["digest"] for layer in layers}
            times.append(took)
            over.append(build["stats"]["bytes_moved"] / changed)
        found["one_more_s"] = {
            "p50": statistics.median(times),
            "max": max(times),
            "runs": len(times),
        }
        found["one_more_moved_over_changed_layers"] = max(over)
        last = f"{wanted}\n{ONE_MORE[-1]}\n"
        answers = [server.post(last, "bench/notebook") for _ in range(50)]
        if {answer.status_code for answer in answers} != {200}:
            raise SystemExit("The same spec was not answered with 200.")
        found["same_spec_ms"] = 1000 * statistics.median(
            answer.elapsed.total_seconds() for answer in answers
        )
        fewer = "\n".join(
            line for line in wanted.splitlines() if line.partition("==")[0] not in DROPPED
        )
        found["known_wheels_new_set_s"], build = server.build(fewer, "bench/other")
        found["known_wheels_bytes_moved"] = build["stats"]["bytes_moved"]
    found["peak_rss_mb"] = peaks.megabytes
    return found


def table(kitbag: dict[str, Any], peers: dict[str, dict[str, float]]) -> str:
    """The README's rows: Kitbag, each peer with the ratio to it, the goal."""
    names = list(peers)
    heads = "".join(f" {name} | ratio |" for name in names)
    lines = [
        f"| 106 packages, 2 cores, a local registry | Kitbag |{heads} goal |",
        "|---|---|" + "---|---|" * len(names) + "---|",
    ]

    def compared(what: str, ours: float, phase: str, goal: str) -> None:
        cells = "".join(
            f" {peers[name][phase]:.1f} s | 1/{peers[name][phase] / ours:.1f} |" for name in names
        )
        lines.append(f"| {what} | {ours:.2f} s |{cells} {goal} |")

    def alone(what: str, ours: str, goal: str) -> None:
        lines.append(f"| {what} | {ours} |" + " - | - |" * len(names) + f" {goal} |")

    compared("cold, bytecode compiled", kitbag["cold_s"], "cold", "≤ 1/2.5")
    compared("cold, without bytecode", kitbag["cold_without_bytecode_s"], "cold", "≤ 1/10")
    more = kitbag["one_more_s"]["p50"]
    compared("one small package more, p50", more, "one_more", "≤ 1/40, ≤ 1.5 s")
    alone("known wheels, a new set", f"{kitbag['known_wheels_new_set_s']:.2f} s", "≤ 2 s")
    alone("the same spec again", f"{kitbag['same_spec_ms']:.1f} ms", "≤ 10 ms")
    moved = kitbag["one_more_moved_over_changed_layers"]
    alone("bytes moved for one more ÷ changed layers", f"{moved:.3f}", "≤ 1.1")
    largest = max(kitbag["peak_rss_mb"], key=lambda kind: kitbag["peak_rss_mb"][kind])
    alone("largest process", f"{kitbag['peak_rss_mb'][largest]:.0f} MB ({largest})", "≤ 300 MB")
    return "\n".join(lines)


def measure_peers(make_registry: Factory, folder: Path, *, zstd: bool) -> dict[str, Any]:
    """Each peer's cold build and one with a package more, in seconds."""
    found = {}
    base_tar = debian_root(ROOT / ".cache" / "bench")
    uv = Path(sys.executable).with_name("uv")
    registry_host = make_registry().host
    with docker_engine() as engine:
        gzip = BuildKitPeer(engine, registry_host, folder / "gzip")
        gzip.setup(base_tar, uv)
        found["BuildKit + uv"] = run_peer(gzip)
        base = push_base(engine, registry_host, base_tar)
    if zstd:
        binaries = build_binaries(ROOT / ".cache" / "bench")
        with (
            temp_dir("buildkit") as short,
            latest_buildkit(binaries, registry_host, short) as address,
        ):
            latest = LatestPeer(binaries / "buildctl", address, registry_host, short / "context")
            latest.compression = "zstd"
            latest.setup(base, uv)
            found["the same, zstd"] = run_peer(latest)
    return found


def run_peer(peer: BuildKitPeer | LatestPeer) -> dict[str, float]:
    """Cold, then one package more on what that left behind."""
    return {"cold": peer.cold(SET).total_s, "one_more": peer.one_more(SET).total_s}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--no-peer", action="store_true", help="leave the peers out")
    parser.add_argument("--zstd", action="store_true", help="also the peer with zstd layers")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, registry_factory() as make_registry:
        folder = Path(name)
        ours = measure(make_registry().host, folder / "kitbag")
        peers = (
            {}
            if chosen.no_peer
            else measure_peers(make_registry, folder / "peers", zstd=chosen.zstd)
        )
    if chosen.json:
        chosen.json.write_text(json.dumps({"kitbag": ours, "peers": peers}, indent=2) + "\n")
    print(table(ours, peers))


if __name__ == "__main__":
    main()
