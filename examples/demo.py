"""`make demo`: the main job on embedded parts, as a person would do it by hand.

A server is started, the example is built from a git URL, its notebook, pipeline and TFJob are
pinned, a package is added, the image is rebuilt from nothing and run. Everything is real; what is
kept between runs is the cache of this folder's `.cache/kitbag` alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLE = HERE / "3dgan"
CACHE = HERE.parent / ".cache" / "kitbag"
BIN = Path(sys.executable).parent
ENVIRONMENT = "hep/3dgan"
ONE_MORE = "humanize==4.9.0"
PINNED = ("k8s/notebook.yaml", "pipeline.yaml", "k8s/tfjob.yaml")
PROGRAM = "import numpy, h5py, humanize; print('numpy', numpy.__version__, 'in', numpy.__path__[0])"


def main() -> int:
    """Run the demo; 0 if every step did what it says."""
    began = time.monotonic()
    install_mmdebstrap()
    with tempfile.TemporaryDirectory(prefix="kitbag-demo-") as name:
        folder = Path(name)
        with server(folder / "data") as url, git_daemon(folder / "git") as git_url:
            os.environ["KITBAG_URL"] = url
            repository = make_repository(folder)
            step(f"1. Build {git_url}")
            image = kitbag("build", git_url, "--name", ENVIRONMENT, "--accelerator", "cpu")
            show(image)

            step("2. Pin the notebook, the pipeline and the TFJob to that one digest")
            pin = [*PINNED, "--env", ENVIRONMENT]
            show(kitbag("pin", *pin, "--diff", cwd=EXAMPLE))
            kitbag("pin", *pin, "-o", str(folder / "pinned"), cwd=EXAMPLE)
            again = kitbag("pin", *PINNED, "--env", ENVIRONMENT, "--check", cwd=folder / "pinned")
            show(again or "Pinned once more, nothing changes.")

            step(f"3. One more package: {ONE_MORE}")
            add_package(repository)
            started = time.monotonic()
            more = kitbag("build", git_url, "--name", ENVIRONMENT, "--accelerator", "cpu")
            took = time.monotonic() - started
            stats = last_build()
            show(more)
            moved = f"{stats['bytes_moved'] / 1e3:.0f} kB written to the store"
            show(f"{took:.1f} s from the request to the digest, {moved}")
            show(kitbag("diff", f"{ENVIRONMENT}:1", f"{ENVIRONMENT}:2"))

            step("4. Rebuild from the lock alone, with nothing cached, and compare")
            show(kitbag("verify", ENVIRONMENT))

            step("5. Run it")
            show(run(more, folder))
            # Some 12,000 files; they go while the server stops.
            removal = subprocess.Popen(["rm", "-rf", folder / "root"])
        removal.wait()
    show(f"\nDone in {time.monotonic() - began:.0f} s.")
    return 0


def install_mmdebstrap() -> None:
    """Where no registry can be reached the base is a Debian, which this program makes."""
    if shutil.which("mmdebstrap") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return  # where it is missing and needed, the build says what to install
    show("Installing mmdebstrap, which makes the base image where no registry can be reached.")
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "mmdebstrap"]):
        subprocess.run(
            ["apt-get", "--quiet=2", *command], env=environ, stdout=subprocess.DEVNULL, check=False
        )


def step(title: str) -> None:
    print(f"\n\033[1m{title}\033[0m" if sys.stdout.isatty() else f"\n{title}", flush=True)


def show(text: str) -> None:
    print(text.rstrip("\n"), flush=True)


def kitbag(*arguments: str, cwd: Path | None = None) -> str:
    """Run the command as a user would; its progress goes straight to the terminal."""
    done = subprocess.run(
        [BIN / "kitbag", *arguments], stdout=subprocess.PIPE, text=True, cwd=cwd, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"kitbag {' '.join(arguments)} ended with {done.returncode}.")
    return done.stdout.strip()


@contextmanager
def server(data: Path) -> Iterator[str]:
    """`kitbag-server up` on a free port, with everything under `data` but the cache."""
    port = free_port()
    environ = os.environ | {"KITBAG_CACHE": str(CACHE)}
    command = [BIN / "kitbag-server", "up", "--port", str(port), "--data", str(data)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            if " is up at " not in line:
                raise SystemExit(line + process.stderr.read())
            show(line)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """Serve the repositories of a folder over git's own protocol; the URL of the example's."""
    folder.mkdir()
    port = free_port()
    command = ["git", "daemon", "--export-all", "--reuseaddr", f"--port={port}"]
    command += ["--listen=127.0.0.1", f"--base-path={folder}", str(folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, process_group=0) as process:
        try:
            wait_for(port)
            yield f"git://127.0.0.1:{port}/3dgan.git"
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def make_repository(folder: Path) -> Path:
    """A repository of the example with a bare one to push to; returns the working copy."""
    work = folder / "3dgan"
    shutil.copytree(EXAMPLE, work, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "git/3dgan.git")
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "remote", "add", "origin", str(folder / "git" / "3dgan.git"))
    push(work, "The example")
    return work


def add_package(work: Path) -> None:
    with (work / "requirements.txt").open("a") as file:
        file.write(f"{ONE_MORE}\n")
    push(work, "One more package")


def push(work: Path, message: str) -> None:
    git(work, "add", "--all")
    who = ("-c", "user.name=Kitbag demo", "-c", "user.email=demo@kitbag.invalid")
    git(work, *who, "commit", "--quiet", "--message", message)
    git(work, "push", "--quiet", "origin", "main")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def last_build() -> dict[str, int]:
    import httpx

    items = httpx.get(f"{os.environ['KITBAG_URL']}/v1/builds?limit=1", timeout=10).json()["items"]
    stats: dict[str, int] = items[0]["stats"]
    return stats


def run(image: str, folder: Path) -> str:
    """Run the image's Python by Docker if an engine answers, else in a chroot of its layers."""
    from isal import igzip

    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "info"], capture_output=True, check=False).returncode == 0
    ):
        command = [docker, "run", "--rm", image, "python", "-c", PROGRAM]
        return "Docker Engine: " + output(command)
    if os.geteuid() != 0:
        return "Not run: there is no Docker Engine, and a chroot needs root."
    root = folder / "root"
    root.mkdir()
    blobs = folder / "data" / "layout" / "blobs" / "sha256"
    manifest = json.loads((blobs / image.rpartition(":")[2]).read_bytes())
    for layer in manifest["layers"]:
        blob = blobs / layer["digest"].removeprefix("sha256:")
        unpack = ["tar", "-xf", "-", "-C", root, "--numeric-owner"]
        with igzip.open(blob) as plain, subprocess.Popen(unpack, stdin=subprocess.PIPE) as tar:
            assert tar.stdin is not None
            shutil.copyfileobj(plain, tar.stdin, 1 << 20)
            tar.stdin.close()
            if tar.wait() != 0:
                raise SystemExit(f"The layer {layer['digest']} could not be unpacked.")
    command = ["chroot", "--userspec=1000:100", root, "/opt/kitbag/start"]
    command += ["/opt/env/bin/python", "-c", PROGRAM]
    return "chroot, as uid 1000: " + output(command)


def output(command: list[str | Path]) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/jovyan"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    if done.returncode != 0:
        raise SystemExit(f"The image does not run: {done.stderr[-500:]}")
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("git daemon did not start; it comes with git.")


if __name__ == "__main__":
    sys.exit(main())
