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
from typing import Protocol

from builder.engines.address import Address
from builder.engines.protocol import Job, Limit, Network
from builder.errors import EngineUnreachableError, InvalidSpecError
from builder.stores.registry import RegistryStore

_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
PERIOD_US = 100_000
"""The period in which a build gets its share of the processors."""
_MARKER = ".build.kitbag.invalid"
# RFC 2606: a name under .invalid never is anybody's.


class Builder(StrEnum):
    """What makes images inside a Docker Engine."""

    AUTO = "auto"
    BUILDKIT = "buildkit"
    CLASSIC = "classic"


class Commands(Protocol):
    """The command lines by which a client program drives an engine with Docker's API."""

    @property
    def honours(self) -> frozenset[Limit]:
        """The limits that it holds a single build to."""

    @property
    def mounts(self) -> bool:
        """Whether Dockerfiles may use `RUN --mount`."""

    @property
    def foreign(self) -> bool:
        """Whether it builds for other machines than its own."""

    def environment(self, address: Address, config: Path) -> dict[str, str]:
        """All that the client knows of us: where the engine is, and a configuration folder."""

    def build(
        self,
        job: Job,
        tag: str,
        *,
        network: str,
        arguments: dict[str, str],
        cache: str | None,
        folder: Path,
    ) -> list[str]:
        """Build the job's Dockerfile; `cache` names an image that brings an earlier build's.

        `folder` is the build's own, for what the client reads beside the context.
        """

    def alias(self, name: str, other: str) -> list[str]:
        """Give a base the name that leftovers are known by; empty if they have another."""

    def pull(self, name: str, store: RegistryStore) -> list[str]:
        """Fetch an image."""

    def push(self, tag: str, name: str, store: RegistryStore) -> list[list[str]]:
        """Push an image of the engine under another name; one command after the other."""

    def load(self, archive: Path) -> list[str]:
        """Take an image from a Docker archive."""

    def save(self, tag: str, archive: Path) -> list[str]:
        """Write an image as a Docker archive."""


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

    @property
    def mounts(self) -> bool:
        return self.builder is Builder.BUILDKIT

    @property
    def foreign(self) -> bool:
        return self.buildx is not None

    def build(
        self,
        job: Job,
        tag: str,
        *,
        network: str,
        arguments: dict[str, str],
        cache: str | None,
        folder: Path,  # noqa: ARG002
    ) -> list[str]:
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

    def alias(self, name: str, other: str) -> list[str]:  # noqa: ARG002
        return []

    def pull(self, name: str, store: RegistryStore) -> list[str]:  # noqa: ARG002
        return [self.docker, "pull", name]

    def push(self, tag: str, name: str, store: RegistryStore) -> list[list[str]]:  # noqa: ARG002
        return [[self.docker, "tag", tag, name], [self.docker, "push", name]]

    def load(self, archive: Path) -> list[str]:
        return [self.docker, "load", f"--input={archive}"]

    def save(self, tag: str, archive: Path) -> list[str]:
        return [self.docker, "save", f"--output={archive}", tag]


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
        more += ["--load", "--provenance=false", f"--platform={job.platform}", *processes(job)]
    return more


def _classic(job: Job) -> list[str]:
    limits = job.limits
    more = ["--force-rm", f"--add-host={marker(job.id)}:127.0.0.1"]
    if limits.memory_bytes is not None:
        # The same for memory and swap together: none of it is swap.
        more += [f"--memory={limits.memory_bytes}", f"--memory-swap={limits.memory_bytes}"]
    if limits.cpus is not None:
        more += [f"--cpu-period={PERIOD_US}", f"--cpu-quota={int(limits.cpus * PERIOD_US)}"]
    return [*more, *processes(job)]


def processes(job: Job) -> list[str]:
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
