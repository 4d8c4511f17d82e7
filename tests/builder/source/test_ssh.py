"""Git over a real OpenSSH server."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rig.git import GitServer
from rig.ssh import SshServer

from builder.errors import GitRefusedError, SourceNotFoundError
from builder.source import GitSource, SourcePolicy, fetch


def test_a_repository_is_fetched_over_ssh_with_the_operators_key(
    ssh_server: SshServer, git_server: GitServer, tmp_path: Path
) -> None:
    made = git_server.repository("over-ssh", {"requirements.txt": "numpy\n"})
    known = tmp_path / "known_hosts"
    known.write_text(f"{ssh_server.known_hosts}\n")
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
