"""What a build needs of a container engine, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from builder.model import Image, Platform
from builder.stores.protocol import Store


class Network(StrEnum):
    """What the steps of a build may reach."""

    OPEN = "open"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one build may use; None leaves a limit to the engine."""

    cpus: float | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    timeout_s: float | None = None
    network: Network = Network.OPEN


@dataclass(frozen=True, slots=True)
class Job:
    """One Dockerfile to build: `context` is a folder that holds it, and nothing that is secret.

    `args` are build arguments, which stay in the image's history. `secrets` are files by id, which
    steps mount with `RUN --mount=type=secret` and which stay nowhere. `target` is the stage.
    `cache_repo` is a repository of the store that keeps the engine's cache from build to build.
    """

    context: Path
    repo: str
    platform: Platform
    dockerfile: str = "Dockerfile"
    target: str | None = None
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
        """What people call it, such as `docker 28.2`."""

    def build(
        self,
        job: Job,
        store: Store,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Image:
        """Build, put the image into `job.repo` of the store, and read its digest back from there.

        `log` gets each line of output as it comes, unredacted. Raises EngineBuildError when a step
        fails, LimitExceededError at a limit, CancelledError soon after `cancelled` says so. However
        it ends, no container, image, network or temporary folder stays behind.
        """
