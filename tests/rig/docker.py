"""A Docker Engine of the run's own, and the containerd beneath it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig.process import Daemon, MissingPartError, program, temp_dir

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class DockerEngine:
    """A Docker Engine with an empty store.

    It has no bridge and touches no firewall, so that any number of them run side by side on a
    machine without `ip`, systemd or a spare subnet: containers share the host's network, which is
    also how they reach a registry or a package index on 127.0.0.1.
    """

    def __init__(
        self, socket: Path, containerd: Path | None, cli: str, daemon: Daemon | None = None
    ) -> None:
        self.socket = socket
        self._containerd = containerd
        self._cli = cli
        self._daemon = daemon

    def kill(self) -> None:
        """End the engine, and its containerd with it, as a fault would; its containers go on."""
        if self._daemon is None or self._containerd is None:
            raise MissingPartError("an engine that runs already is not the test's to kill")
        self._daemon.kill()
        pid = self._containerd.with_name("containerd.pid")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        for left in (pid, self._containerd, self.socket.with_name("pid")):
            left.unlink(missing_ok=True)

    def start(self) -> None:
        """Start an engine again that was killed."""
        assert self._daemon is not None
        self._daemon.start()

    @property
    def host(self) -> str:
        """The value of DOCKER_HOST."""
        return f"unix://{self.socket}"

    def docker(
        self,
        *args: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run the Docker CLI against this engine; with `check`, a failure raises with its output.

        `env` is added to this process's own environment.
        """
        argv = [self._cli, "--host", self.host, *args]
        return _run(argv, check, timeout_s, {**os.environ, **(env or {})})

    def run(
        self,
        image: str,
        *command: str,
        user: str | None = None,
        options: Sequence[str] = (),
        check: bool = True,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """`docker run --rm` on the host's network, with the host's CA bundle in its usual place."""
        chosen = ["--rm", "--network=host", *ca_options(), *options]
        if user is not None:
            chosen.append(f"--user={user}")
        return self.docker("run", *chosen, image, *command, check=check, timeout_s=timeout_s)

    def ctr(
        self, *args: str, check: bool = True, timeout_s: float = 300, namespace: str = "kitbag"
    ) -> subprocess.CompletedProcess[str]:
        """Run containerd's own client, which does what a Kubernetes node does.

        `ctr("images", "pull", "--plain-http", "127.0.0.1:PORT/…")`; raises `MissingPartError` for
        an engine that the rig didn't start.
        """
        if self._containerd is None:
            raise MissingPartError("the containerd of an engine that runs already can't be reached")
        ctr = program("ctr", "containerd")
        argv = [ctr, "--address", str(self._containerd), "--namespace", namespace, *args]
        return _run(argv, check, timeout_s, dict(os.environ))


def ca_options() -> list[str]:
    """`docker run` options that mount the host's CA bundle and point the usual clients at it."""
    if not CA_BUNDLE.exists():
        return []
    variables = [f"--env={name}={CA_BUNDLE}" for name in _CA_VARIABLES]
    return [f"--volume={CA_BUNDLE}:{CA_BUNDLE}:ro", *variables]


@contextmanager
def docker_engine(data: Path | None = None) -> Iterator[DockerEngine]:
    """Start an engine as root; otherwise use the one that this machine runs, if any.

    `data` is where it keeps images, such as a disk that is small.
    """
    if os.geteuid() != 0:
        yield _running_engine()
        return
    dockerd = program("dockerd", "docker.io")
    program("containerd", "containerd")
    # The client of the engine's own package first: a newer one asks for plugins to build.
    cli = shutil.which("docker", path="/usr/bin") or program("docker", "docker.io")
    with temp_dir("docker") as folder:
        socket, containerd = folder / "docker.sock", folder / "exec/containerd/containerd.sock"
        engine = DockerEngine(socket, containerd, cli)
        daemon = Daemon(
            [
                dockerd,
                f"--host={engine.host}",
                f"--data-root={data or folder / 'data'}",
                f"--exec-root={folder / 'exec'}",
                f"--pidfile={folder / 'pid'}",
                "--storage-driver=overlay2",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
                "--ip-masq=false",
            ],
            log=folder / "log",
            ready=lambda: socket.exists() and engine.docker("version", check=False).returncode == 0,
            timeout_s=60,
        )
        daemon.start()
        try:
            yield DockerEngine(socket, containerd, cli, daemon)
        finally:
            daemon.stop(timeout_s=60)
            _end_shims(folder)
            unmount(folder)
            if data is not None:
                unmount(data)


def _running_engine() -> DockerEngine:
    cli = program("docker", "docker.io")
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    socket = Path(host.removeprefix("unix://"))
    engine = DockerEngine(socket, None, cli)
    if not socket.is_socket() or engine.docker("version", check=False).returncode:
        raise MissingPartError("no Docker Engine answers here: start one, or run the tests as root")
    return engine


def _end_shims(folder: Path) -> None:
    """End what watches over the containers of an engine that was killed."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes()
            if b"containerd-shim" in command and bytes(folder) + b"/" in command:
                os.kill(int(process.name), signal.SIGKILL)


def unmount(folder: Path) -> None:
    """Let go of what a daemon that was killed left mounted, or the folder can't be removed."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed([m for m in mounts if m.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


def _run(
    argv: Sequence[str], check: bool, timeout_s: float, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=env,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(argv)}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done
