"""How much disk a build takes, looked at while it runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from builder.engines.api import EngineApi
from builder.engines.client import marked
from builder.errors import EngineUnreachableError, LimitExceededError


class DiskWatch:
    """Stops a build that writes more than `limit_bytes`; None is no limit.

    The classic builder has a container for each step, whose size the engine tells. BuildKit tells
    only of finished steps, of all builds; so where its disk is this machine's, what the disk lost
    since the build began is counted too. Builds beside it are counted with it then.
    """

    def __init__(self, api: EngineApi, build: str, limit_bytes: int | None) -> None:
        self._api = api
        self._build = build
        self._limit_bytes = limit_bytes
        self._ours: dict[str, bool] = {}
        self._root: Path | None = None
        self._free_bytes = self._cache_bytes = 0
        if limit_bytes is not None:
            root = Path(str(api.info().get("DockerRootDir") or "/nonexistent"))
            # On another machine the same path may be there by chance; these two are Docker's own.
            if (root / "overlay2").is_dir() or (root / "buildkit").is_dir():
                self._root = root
                self._free_bytes = _free(root)
            self._cache_bytes = api.cache_bytes()

    def check(self) -> None:
        """Raise LimitExceededError when it is too much; an engine that is busy is not asked."""
        if self._limit_bytes is None:
            return
        with suppress(EngineUnreachableError):
            written = sum(
                int(each.get("SizeRw") or 0)
                for each in self._api.containers(running=True, size=True)
                if self._is_ours(str(each["Id"]))
            )
            cached = self._api.cache_bytes() - self._cache_bytes
            lost = self._free_bytes - _free(self._root) if self._root else 0
            self._compare(max(written, cached, lost))

    def check_image(self, size_bytes: int) -> None:
        """Raise LimitExceededError when the image that was made is larger than the limit."""
        self._compare(size_bytes)

    def _is_ours(self, container: str) -> bool:
        if container not in self._ours:
            found = self._api.container(container) or {}
            hosts = (found.get("HostConfig") or {}).get("ExtraHosts") or ()
            self._ours[container] = marked(hosts) == self._build
        return self._ours[container]

    def _compare(self, size_bytes: int) -> None:
        if self._limit_bytes is not None and size_bytes > self._limit_bytes:
            raise LimitExceededError(
                f"The build took {size_bytes >> 20} MiB of disk, over its limit of "
                f"{self._limit_bytes >> 20} MiB; let it keep less, or ask for more."
            )


def _free(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
