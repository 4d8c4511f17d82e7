"""A real OpenSSH server, for git over ssh."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.process import Daemon, accepts, free_port, program, temp_dir


@dataclass(frozen=True)
class SshServer:
    """Lets in whoever has the private `key`; `host_key` is what known_hosts has after the host.

    What is in the folder `programs` is on the PATH of whoever came in.
    """

    port: int
    key: Path
    host_key: str
    programs: Path

    def url(self, path: Path) -> str:
        """The ssh URL of a repository on this machine."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def known_hosts(self) -> str:
        """The line of known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.host_key}"


@contextmanager
def ssh_server() -> Iterator[SshServer]:
    """An sshd that lets one key in."""
    binary = program("sshd", "openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    with temp_dir("ssh") as folder:
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                check=True,
            )
        (folder / "programs").mkdir()
        public = (folder / "user.pub").read_text()
        (folder / "authorized").write_text(public)
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            f"SetEnv PATH={folder}/programs:/usr/local/bin:/usr/bin:/bin\n"
        )
        daemon = Daemon(
            [binary, "-D", "-e", "-f", str(folder / "config")],
            log=folder / "log",
            ready=lambda: accepts(port),
        )
        daemon.start()
        try:
            host_key = " ".join((folder / "host.pub").read_text().split()[:2])
            yield SshServer(port, folder / "user", host_key, folder / "programs")
        finally:
            daemon.stop()
