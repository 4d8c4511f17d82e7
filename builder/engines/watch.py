"""What is looked at while a build runs: its disk, and that its steps have their limits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.engines.api import EngineApi
from builder.engines.client import marked
from builder.errors import EngineUnreachableError, LimitExceededError

_WALK_SHARE = 10
"""A walk takes at most one part in so many of the time."""


class Steps:
    """The containers of one build's steps, which the classic builder has and BuildKit has not."""

    def __init__(self, api: EngineApi, build: str) -> None:
        self._api = api
        self._build = build
        self._ours: dict[str, bool] = {}

    def running(self, *, size: bool = False) -> Iterator[dict[str, Any]]:
        """Those that run, as the engine lists them."""
        for each in self._api.containers(running=True, size=size):
            if self._is_ours(str(each["Id"])):
                yield each

    def _is_ours(self, container: str) -> bool:
        if container not in self._ours:
            found = self._api.container(container) or {}
            hosts = (found.get("HostConfig") or {}).get("ExtraHosts") or ()
            self._ours[container] = marked(hosts) == self._build
        return self._ours[container]


class ProcessCap:
    """Gives each step's container a limit of processes, which holds for root too.

    The builder takes none when it starts a step, so that a step is without for up to two seconds;
    until then only the limit of each user holds.
    """

    def __init__(self, api: EngineApi, steps: Steps, most: int | None) -> None:
        self._api = api
        self._steps = steps
        self._most = most
        self._capped: set[str] = set()

    def check(self) -> None:
        """Cap the containers that are new; an engine that is busy is not asked."""
        if self._most is None:
            return
        with suppress(EngineUnreachableError):
            for each in self._steps.running():
                if (container := str(each["Id"])) not in self._capped:
                    self._capped.add(container)
                    self._api.limit_processes(container, self._most)


class DiskWatch:
    """Stops a build that writes more than `limit_bytes`; None is no limit.

    The classic builder has a container for each step, whose size the engine tells. BuildKit tells
    only of finished steps, of all builds; so where we may read its folder of layers, those that are
    new since the build began are measured. Builds beside it are counted with it then.
    """

    def __init__(self, api: EngineApi, steps: Steps, limit_bytes: int | None) -> None:
        self._api = api
        self._steps = steps
        self._limit_bytes = limit_bytes
        self._layers: Path | None = None
        self._before: frozenset[str] = frozenset()
        self._cache_bytes = 0
        self._next_walk = 0.0
        if limit_bytes is not None:
            known = api.info()
            root = Path(str(known.get("DockerRootDir") or "/nonexistent"))
            layers = root / str(known.get("Driver") or "overlay2")
            with suppress(OSError):
                self._before = frozenset(folder.name for folder in layers.iterdir())
                self._layers = layers
            self._cache_bytes = api.cache_bytes()

    def check(self) -> None:
        """Raise LimitExceededError when it is too much; an engine that is busy is not asked."""
        if self._limit_bytes is None:
            return
        with suppress(EngineUnreachableError):
            written = sum(int(each.get("SizeRw") or 0) for each in self._steps.running(size=True))
            cached = self._api.cache_bytes() - self._cache_bytes
            self._compare(max(written, cached))
            if self._layers is not None and time.monotonic() >= self._next_walk:
                began = time.monotonic()
                self._compare(_size_of_new(self._layers, self._before))
                # A tree of a million files is not walked all the time.
                self._next_walk = began + _WALK_SHARE * (time.monotonic() - began)

    def check_image(self, size_bytes: int) -> None:
        """Raise LimitExceededError when the image that was made is larger than the limit."""
        self._compare(size_bytes)

    def _compare(self, size_bytes: int) -> None:
        if self._limit_bytes is not None and size_bytes > self._limit_bytes:
            raise LimitExceededError(
                f"The build took {size_bytes >> 20} MiB of disk, over its limit of "
                f"{self._limit_bytes >> 20} MiB; let it keep less, or ask for more."
            )


def _size_of_new(layers: Path, before: frozenset[str]) -> int:
    """What the layers that are not among those take on disk; what is gone meanwhile takes none."""
    total = 0
    with suppress(OSError):
        for layer in layers.iterdir():
            if layer.name in before:
                continue
            for folder, _, files in os.walk(layer / "diff"):
                for file in files:
                    with suppress(OSError):
                        total += os.lstat(f"{folder}/{file}").st_blocks * 512
    return total
