"""podman by the socket of its service on this machine, driven by its own client.

Docker's client can't build there: podman's way to build is its own. Its service goes on with a step
whose client is gone (release 4.3 does), so that a step is ended from here: it runs in a control
group that has the build's id, whose processes we see, as the service is on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builder.engines.address import Address
from builder.engines.client import PERIOD_US, Commands, dockerfile_of, processes
from builder.engines.docker import DockerEngine
from builder.engines.names import build_of
from builder.engines.protocol import Job, Limit, Network
from builder.errors import EngineNeededError, EngineUnreachableError, InvalidSpecError
from builder.stores.registry import RegistryStore

_GROUP = "/kitbag"
_STEP = re.compile(r":\S*/kitbag/([A-Za-z0-9_][A-Za-z0-9._-]*)$", re.MULTILINE)
_END_S = 20.0


@dataclass(frozen=True, slots=True)
class Podman:
    """The client; what a job's limits are it hands to the kernel for each step."""

    program: str

    @property
    def honours(self) -> frozenset[Limit]:
        return frozenset(Limit)

    @property
    def mounts(self) -> bool:
        return True

    @property
    def foreign(self) -> bool:
        return False

    def environment(self, address: Address, config: Path) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(config),
            "TMPDIR": str(config),
            "XDG_RUNTIME_DIR": str(config),
            "CONTAINER_HOST": address.url,
            "REGISTRY_AUTH_FILE": str(config / "config.json"),
        }

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
        if cache is not None:
            raise EngineNeededError("podman keeps no cache in a registry: leave that out.")
        limits = job.limits
        # A name inside the context is one that the service first looks for where it runs itself.
        file = folder / f"{job.id}.Dockerfile"
        shutil.copyfile(dockerfile_of(job), file)
        command = [
            *(self.program, "--remote", "build", f"--tag={tag}", f"--file={file}"),
            # Steps are one layer, and none of them is kept as an image without a name.
            *("--layers=false", "--force-rm", "--format=docker", "--identity-label=false"),
            f"--cgroup-parent={_GROUP}/{job.id}",
            *(f"--label={key}={value}" for key, value in sorted(job.labels.items())),
            *(f"--build-arg={key}={value}" for key, value in sorted(arguments.items())),
            *(f"--secret=id={key},src={path}" for key, path in sorted(job.secrets.items())),
            *processes(job),
        ]
        if limits.network is Network.NONE:
            command.append("--network=none")
        elif network != "default":
            command.append(f"--network={network}")
        if job.target is not None:
            command.append(f"--target={job.target}")
        if limits.memory_bytes is not None:
            command += [f"--memory={limits.memory_bytes}", f"--memory-swap={limits.memory_bytes}"]
        if limits.cpus is not None:
            quota = int(limits.cpus * PERIOD_US)
            command += [f"--cpu-period={PERIOD_US}", f"--cpu-quota={quota}"]
        return [*command, str(job.context)]

    def alias(self, name: str, other: str) -> list[str]:
        return [self.program, "--remote", "tag", name, other]

    def pull(self, name: str, store: RegistryStore) -> list[str]:
        return [self.program, "--remote", "pull", _tls(store), name]

    def push(self, tag: str, name: str, store: RegistryStore) -> list[list[str]]:
        return [[self.program, "--remote", "push", _tls(store), tag, f"docker://{name}"]]

    def load(self, archive: Path) -> list[str]:
        return [self.program, "--remote", "load", f"--input={archive}"]

    def save(self, tag: str, archive: Path) -> list[str]:
        form = "--format=docker-archive"
        return [self.program, "--remote", "save", form, f"--output={archive}", tag]


class PodmanEngine(DockerEngine):
    """One podman service, rootful, whose containers are in control groups of cgroupfs."""

    def __init__(
        self, address: Address, *, network: str = "default", scratch: Path | None = None
    ) -> None:
        if address.socket is None:
            raise InvalidSpecError(
                "podman is spoken to by a socket of this machine, since its steps are ended from "
                "here: write unix:///PATH"
            )
        super().__init__(address, network=network, scratch=scratch)

    @property
    def name(self) -> str:
        return f"podman {self._api.version().get('Version', '')}".rstrip()

    @cached_property
    def _client(self) -> Commands:
        program = shutil.which("podman")
        if program is None:
            raise EngineUnreachableError(
                "This worker has no podman program, which talks to podman's service: install it."
            )
        if self._api.info().get("CgroupDriver") != "cgroupfs":
            raise EngineNeededError(
                "podman's service names control groups by systemd, where its steps are not found: "
                'its operator must set cgroup_manager = "cgroupfs" in containers.conf.'
            )
        return Podman(program)

    def _remove(self, unwanted: Callable[[str], bool]) -> int:
        removed = end_steps(unwanted)
        for each in self._api.storage_containers():
            build = build_of(str(each.get("Image")))
            if build is not None and unwanted(build):
                removed += self._api.remove_storage_container(str(each["Id"]))
        return removed + super()._remove(unwanted)


def end_steps(unwanted: Callable[[str], bool]) -> int:
    """End what runs in the control groups of unwanted builds; returns how many processes that was.

    Again and again, as a step may go on to start more while it is ended.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _END_S
    while time.monotonic() < deadline:
        running = [process for process, build in _steps() if unwanted(build)]
        if not running:
            break
        for process in running:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        ended.update(running)
        time.sleep(0.05)
    return len(ended)


def _steps() -> Iterator[tuple[int, str]]:
    """The processes of all builds' steps, and the builds."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if match := _STEP.search((folder / "cgroup").read_text()):
                yield int(folder.name), match[1]


def _tls(store: RegistryStore) -> str:
    return f"--tls-verify={str(not store.plain_http).lower()}"
