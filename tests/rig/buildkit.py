"""A BuildKit daemon of the run's own, built by Go from the module that the benchmarks pin."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.certificate import Authority
from rig.golang import built
from rig.process import Daemon, free_port, program, temp_dir

_MODULE = Path(__file__).parents[2] / "bench/peers/buildkitd"
_COMMANDS = "github.com/moby/buildkit/cmd"


@dataclass(frozen=True, slots=True)
class BuildKit:
    """A daemon: its `address`, and the folder `programs` with `buildctl` for PATH.

    At `tls_address` it answers to who has the certificates in the folder `certs`, named as Docker's
    clients name them.
    """

    address: str
    tls_address: str
    certs: Path
    programs: Path
    daemon: Daemon


@contextmanager
def buildkit() -> Iterator[BuildKit]:
    """Start a daemon as root; its steps are on the host's network."""
    program("runc", "runc")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kitbag-rig"
    sources = [_MODULE / "go.mod", _MODULE / "go.sum"]
    with temp_dir("buildkit") as folder:
        for name in ("buildctl", "buildkitd"):
            binary = built(
                name, module=_MODULE, package=f"{_COMMANDS}/{name}", cache=cache, sources=sources
            )
            (folder / name).symlink_to(binary)
        authority = Authority(folder, "buildkit")
        server, client = authority.issue("server"), authority.issue("client")
        certs = folder / "certs"
        certs.mkdir()
        for name, file in (("ca", authority.path), ("cert", client.path), ("key", client.key)):
            (certs / f"{name}.pem").symlink_to(file)
        tls_address = f"tcp://127.0.0.1:{free_port()}"
        socket = folder / "buildkitd.sock"
        address = f"unix://{socket}"
        ask = [str(folder / "buildctl"), "--addr", address, "debug", "workers"]
        daemon = Daemon(
            [
                *(str(folder / "buildkitd"), f"--root={folder / 'state'}", f"--addr={address}"),
                *(f"--addr={tls_address}", f"--tlscacert={authority.path}"),
                *(f"--tlscert={server.path}", f"--tlskey={server.key}"),
                *("--containerd-worker=false", "--oci-worker-snapshotter=native"),
                "--oci-worker-net=host",
            ],
            log=folder / "log",
            ready=lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0,
            timeout_s=60,
            env={**os.environ, "BUILDKIT_SETUP_CGROUPV2_ROOT": "0"},
        )
        daemon.start()
        try:
            yield BuildKit(address, tls_address, certs, folder, daemon)
        finally:
            daemon.stop()
