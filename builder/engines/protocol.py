"""What a build needs of a container engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from builder.errors import EngineNeededError
from builder.model import Image, Pinned, Platform
from builder.stores.protocol import Store

OUT = "/out"
"""The folder of an image whose files `Engine.files` gives."""
STAGES = "kitbag/stage/"
"""Where in a registry the bases are that are of use to one build alone, its id their tag."""


class Network(StrEnum):
    """What the steps of a build may reach."""

    OPEN = "open"
    NONE = "none"


class Limit(StrEnum):
    """What an engine can hold one build to."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    TIME = "time"
    NETWORK = "network"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one build may use; None leaves a limit to the engine.

    `processes` counts threads too, of the user that a step runs as.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    timeout_s: float | None = None
    network: Network = Network.OPEN
    processes: int | None = None


def check_limits(limits: Limits, honoured: frozenset[Limit]) -> None:
    """Raise EngineNeededError for a limit of CPU or memory that the engine holds no build to."""
    for limit, value in ((Limit.CPU, limits.cpus), (Limit.MEMORY, limits.memory_bytes)):
        if value is not None and limit not in honoured:
            raise EngineNeededError(
                f"The container engine holds no single build to a limit of {limit}, as BuildKit "
                "can't: its operator must limit the engine as a whole and leave this limit out, or "
                "choose Docker's classic builder or podman."
            )


@dataclass(frozen=True, slots=True)
class Job:
    """One Dockerfile to build: `context` is a folder that holds it, and nothing that is secret.

    `id` names the build, such as the catalog's, in all that the engine makes for it, so that a
    sweep knows what a dead worker left. `base` is an image of the store: the engine gets it first,
    and the build argument `BASE` is the name to start FROM. Unless `keep_base`, the base is of use
    to this build alone, below STAGES and under the tag `id`, and the engine gives up its copy:
    after the build, or at a sweep if the worker was killed. `args` are more build arguments, which
    stay in the image's history. `secrets` are files by id, which steps mount with `RUN
    --mount=type=secret` and which stay nowhere. `target` is the stage. `cache_repo` is a repository
    of the store, a registry, that keeps the engine's cache from build to build.
    """

    id: str
    context: Path
    repo: str
    platform: Platform
    dockerfile: str = "Dockerfile"
    target: str | None = None
    base: Pinned | None = None
    keep_base: bool = True
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = Limits()
    cache_repo: str | None = None


class Engine(Protocol):
    """One Docker Engine, BuildKit or podman. Safe for threads; each build is a process of its own.

    Methods raise EngineUnreachableError when the engine does not answer.
    """

    @property
    def name(self) -> str:
        """What people call it, such as `docker 28.2`; asks the engine."""

    @property
    def honours(self) -> frozenset[Limit]:
        """The limits that it holds a single build to; the others are the operator's to set."""

    @property
    def mounts(self) -> bool:
        """Whether Dockerfiles may use `RUN --mount`, and so secrets and caches."""

    def build(
        self,
        job: Job,
        store: Store,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Image:
        """Build, put the image into `job.repo` of the store, and read its digest back from there.

        `log` gets each line of output as it comes; only what is in `job.secrets` and the engine's
        own logins is hidden in them. Raises EngineNeededError for a job that the engine can't do,
        or can't hold to its limits of CPU and memory; EngineBuildError when a step fails,
        TimedOutError and LimitExceededError at a limit, DiskFullError, CancelledError soon after
        `cancelled` says so.
        However it ends, no container, image, network or temporary folder stays behind.
        """

    def files(
        self,
        job: Job,
        store: Store,
        into: Path,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> tuple[Path, ...]:
        """Build, and put the regular files of the image's folder `/out` into a folder of ours.

        The image goes nowhere; `job.repo` is not used. Names are as in the image, flat; other
        kinds of files are left out. Raises what `build` raises.
        """

    def sweep(self, alive: Callable[[str], bool]) -> int:
        """Remove what builds left in the engine whose id is not `alive`; returns how many things.

        An id is that of a job up to its first dot. `alive` is asked after the engine was, so that a
        build that begins meanwhile is spared.
        """
