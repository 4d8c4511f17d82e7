"""Git over a real OpenSSH server."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rig.git import GitServer
from rig.process import Daemon, MissingPartError, accepts, free_port, program, temp_dir

from builder.errors import GitRefusedError, SourceNotFoundError
from builder.source import GitSource, SourcePolicy, fetch


@dataclass(frozen=True)
class SshServer:
    port: int
    key: Path
    host_key: str

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


@pytest.fixture(scope="module")
def ssh_server() -> Iterator[SshServer]:
    """An sshd that lets one key in."""
    try:
        binary = program("sshd", "openssh-server")
    except MissingPartError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI runs every part of the rig, but {missing}.", pytrace=False)
        pytest.skip(str(missing))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    with temp_dir("ssh") as folder:
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                check=True,
            )
        public = (folder / "user.pub").read_text()
        (folder / "authorized").write_text(public)
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        )
        daemon = Daemon(
            [binary, "-D", "-e", "-f", str(folder / "config")],
            log=folder / "log",
            ready=lambda: accepts(port),
        )
        daemon.start()
        try:
            host_key = " ".join((folder / "host.pub").read_text().split()[:2])
            yield SshServer(port, folder / "user", host_key)
        finally:
            daemon.stop()


def test_a_repository_is_fetched_over_ssh_with_the_operators_key(
    ssh_server: SshServer, git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("over-ssh", {"requirements.txt": "numpy\n"})
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{ssh_server.port} {ssh_server.host_key}\n")
    policy = replace(SourcePolicy.local(), ssh_key=ssh_server.key, known_hosts=known)
    url = ssh_server.url(made.path)
    checkout = fetch(GitSource(url, "main"), tmp_path / "x", policy=policy)
    assert checkout.commit == made.head
    assert checkout.url == url
    assert (tmp_path / "x" / "requirements.txt").read_text() == "numpy\n"
    open_policy = replace(policy, known_hosts=None)
    assert fetch(GitSource(url), tmp_path / "y", policy=open_policy).commit == made.head


def test_a_server_that_is_not_the_known_one_or_wants_another_key_is_not_used(
    ssh_server: SshServer, git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("not-over-ssh", {"a": "b"})
    known = tmp_path / "known_hosts"
    other = ssh_server.host_key[:-8] + "AAAAAAAA"
    known.write_text(f"[127.0.0.1]:{ssh_server.port} {other}\n")
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)], check=True)
    local = SourcePolicy.local()
    for policy in (
        replace(local, ssh_key=ssh_server.key, known_hosts=known),
        replace(local, ssh_key=stranger),
    ):
        with pytest.raises(SourceNotFoundError, match="does not exist or needs credentials"):
            fetch(GitSource(ssh_server.url(made.path)), tmp_path / "x", policy=policy)
    with pytest.raises(SourceNotFoundError):
        fetch(
            GitSource(ssh_server.url(Path("/nonexistent/repository"))),
            tmp_path / "x",
            policy=replace(local, ssh_key=ssh_server.key),
        )
    with pytest.raises(GitRefusedError):
        fetch(GitSource(ssh_server.url(made.path)), tmp_path / "x", policy=SourcePolicy())
