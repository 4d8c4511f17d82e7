"""Which client program drives a Docker Engine, and the command lines it is given.

| client on this machine | builds with |
|---|---|
| buildx, run on its own: a CLI would be one more process that may outlive us | BuildKit |
| a Docker CLI before 23, which speaks to BuildKit itself | BuildKit |
| a newer Docker CLI without buildx | the classic builder |
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from builder.engines.address import Address
from builder.engines.protocol import Job, Limit, Network
from builder.errors import EngineUnreachableError, InvalidSpecError

_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PERIOD_US = 100_000
_MARKER = ".build.kitbag.invalid"
# RFC 2606: a name under .invalid never is anybody's.


class Builder(StrEnum):
    """What makes images inside a Docker Engine."""

    AUTO = "auto"
    BUILDKIT = "buildkit"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Client:
    """The programs of this machine: `builder` is BUILDKIT or CLASSIC."""

    docker: str
    buildx: str | None
    builder: Builder

    @property
    def honours(self) -> frozenset[Limit]:
        """BuildKit has limits for all of its steps together only, which are its operator's."""
        always = {Limit.TIME, Limit.DISK, Limit.NETWORK}
        own = (
            {Limit.CPU, Limit.MEMORY, Limit.PROCESSES} if self.builder is Builder.CLASSIC else set()
        )
        return frozenset(always | own)

    def build(
        self, job: Job, tag: str, *, network: str, arguments: dict[str, str], cache: str | None
    ) -> list[str]:
        """The command line of a build."""
        modern = self.builder is Builder.BUILDKIT
        program = [self.buildx] if modern and self.buildx else [self.docker]
        command = [
            *program,
            "build",
            f"--tag={tag}",
            f"--file={dockerfile_of(job)}",
            f"--network={'none' if job.limits.network is Network.NONE else network}",
            *(f"--label={key}={value}" for key, value in sorted(job.labels.items())),
            *(f"--build-arg={key}={value}" for key, value in sorted(arguments.items())),
        ]
        if job.target is not None:
            command.append(f"--target={job.target}")
        if cache is not None:
            command.append(f"--cache-from={cache}")
        command += _modern(self, job, cache) if modern else _classic(job)
        return [*command, str(job.context)]

    def environment(self, address: Address, config: Path) -> dict[str, str]:
        """All that the client knows of us: where the engine is, and a configuration folder."""
        known = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(config),
            "TMPDIR": str(config),
            "DOCKER_CONFIG": str(config),
            "BUILDX_CONFIG": str(config / "buildx"),
            "DOCKER_HOST": address.url,
            "DOCKER_BUILDKIT": "1" if self.builder is Builder.BUILDKIT else "0",
            "NO_COLOR": "1",
        }
        if address.certs is not None and address.socket is None:
            known |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(address.certs)}
        return known


def find_client(wanted: Builder) -> Client:
    """The client programs that this machine has; EngineUnreachableError if they can't do it."""
    # The client of the engine's own package, where there is one, needs no plugin.
    own = "/usr/bin/docker"
    docker = own if _plugin() is None and Path(own).exists() else shutil.which("docker")
    if docker is None:
        raise EngineUnreachableError(
            "This worker has no docker program, which talks to the engine: install docker-cli."
        )
    buildx = _plugin()
    if wanted is Builder.CLASSIC:
        return Client(docker, None, Builder.CLASSIC)
    if buildx is not None:
        return Client(docker, buildx, Builder.BUILDKIT)
    if _major(docker) < 23:
        return Client(docker, None, Builder.BUILDKIT)
    if wanted is Builder.BUILDKIT:
        raise EngineUnreachableError(
            "This worker's docker program needs its plugin buildx to use BuildKit: install it."
        )
    return Client(docker, None, Builder.CLASSIC)


def marker(build: str) -> str:
    """A host name that tells whose container of the classic builder it is.

    Its containers get no label, but they do get the host names of the build.
    """
    return f"{build}{_MARKER}"


def marked(hosts: Sequence[str]) -> str | None:
    """The build that a container's extra hosts (`NAME:ADDRESS`) say it belongs to."""
    for host in hosts:
        name = host.partition(":")[0]
        if name.endswith(_MARKER):
            return name.removesuffix(_MARKER)
    return None


def _modern(client: Client, job: Job, cache: str | None) -> list[str]:
    more = ["--progress=plain"]
    more += [f"--secret=id={key},src={path}" for key, path in sorted(job.secrets.items())]
    if cache is not None:
        more.append("--build-arg=BUILDKIT_INLINE_CACHE=1")
    if client.buildx is not None:
        # An attestation would make an index of what is one image.
        more += ["--load", "--provenance=false", f"--platform={job.platform}", *_processes(job)]
    return more


def _classic(job: Job) -> list[str]:
    limits = job.limits
    more = ["--force-rm", f"--add-host={marker(job.id)}:127.0.0.1"]
    if limits.memory_bytes is not None:
        # The same for memory and swap together: none of it is swap.
        more += [f"--memory={limits.memory_bytes}", f"--memory-swap={limits.memory_bytes}"]
    if limits.cpus is not None:
        more += [f"--cpu-period={_PERIOD_US}", f"--cpu-quota={int(limits.cpus * _PERIOD_US)}"]
    return [*more, *_processes(job)]


def _processes(job: Job) -> list[str]:
    """A limit that the kernel keeps for each user but root; BuildKit before 0.10 passes it over."""
    most = job.limits.processes
    return [f"--ulimit=nproc={most}:{most}"] if most is not None else []


def dockerfile_of(job: Job) -> Path:
    """The job's Dockerfile; InvalidSpecError if there is none, or it is outside of the context."""
    path = job.context / job.dockerfile
    inside = path.resolve().is_relative_to(job.context.resolve())
    if not inside or not path.is_file():
        raise InvalidSpecError(f"There is no {job.dockerfile} in what is to be built: add it.")
    return path


def _plugin() -> str | None:
    own = os.environ.get("DOCKER_CONFIG") or str(Path("~/.docker").expanduser())
    folders = [f"{own}/cli-plugins", *_PLUGINS]
    return shutil.which("docker-buildx", path=os.pathsep.join(folders)) or shutil.which(
        "docker-buildx"
    )


def _major(docker: str) -> int:
    said = subprocess.run([docker, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"version (\d+)\.", said)
    return int(match[1]) if match else 0
