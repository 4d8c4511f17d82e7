"""A podman service of the run's own, rootful, with an empty store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.docker import unmount
from rig.process import Daemon, MissingPartError, program, temp_dir


class Podman:
    """A service at `address`; `.podman(…)` runs the client against it."""

    def __init__(self, socket: Path, daemon: Daemon, env: dict[str, str]) -> None:
        self._socket = socket
        self._daemon = daemon
        self._env = env

    @property
    def address(self) -> str:
        return f"unix://{self._socket}"

    def podman(self, *args: str) -> str:
        """What the client printed; a failure raises with it."""
        argv = ["podman", "--url", self.address, *args]
        done = subprocess.run(argv, capture_output=True, text=True, env=self._env, check=False)
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def kill(self) -> None:
        """End the service as a fault would; what it runs goes on."""
        self._daemon.kill()
        self._socket.unlink(missing_ok=True)

    def start(self) -> None:
        """Start it again."""
        self._daemon.start()


@contextmanager
def podman() -> Iterator[Podman]:
    """Start a service as root, with runc and cgroupfs: not every machine has systemd."""
    if os.geteuid() != 0:
        raise MissingPartError("podman's service is rootful here: run the tests as root")
    binary = program("podman", "podman")
    program("runc", "runc")
    with temp_dir("podman") as folder:
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\n'
            f'graphroot = "{folder}/data"\n'
        )
        (folder / "containers.conf").write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n'
            f'tmp_dir = "{folder}/tmp"\n'
        )
        env = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "HOME": str(folder),
        }
        socket = folder / "podman.sock"
        daemon = Daemon(
            [binary, "system", "service", "--time=0", f"unix://{socket}"],
            log=folder / "log",
            ready=lambda: socket.exists() and _answers(made),
            timeout_s=60,
            env=env,
        )
        made = Podman(socket, daemon, env)
        daemon.start()
        try:
            yield made
        finally:
            daemon.stop()
            unmount(folder)


def _answers(made: Podman) -> bool:
    try:
        made.podman("version")
    except AssertionError:
        return False
    return True
