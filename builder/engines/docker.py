"""A Docker Engine: its own builder or BuildKit makes the image, which then goes into the store.

base ─> load or pull ─> build ─┬─> push ──────────────────────┬─> read back
                               └─> save, compress, verify ────┘

The base is fetched before the build and the image pushed after it, each with the registry's login.
The build itself knows no login: a Dockerfile starts FROM nothing that only the operator may see.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

from builder.engines.address import Address
from builder.engines.api import EngineApi
from builder.engines.client import Builder, Commands, find_client, marked
from builder.engines.dockerrun import Run
from builder.engines.logins import config_folder
from builder.engines.names import LABEL, belongs, build_of, pushed_names
from builder.engines.process import Clock
from builder.engines.protocol import OUT, Job, Limit, check_limits
from builder.engines.talk import Talk
from builder.errors import EngineNeededError, EngineUnreachableError
from builder.model import Image
from builder.stores.names import check_tag
from builder.stores.protocol import Store

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class DockerEngine:
    """One Docker Engine; `network` is what its steps are on where a job's network is open.

    `scratch` is where images lie on their way into a layout.
    """

    def __init__(
        self,
        address: Address,
        *,
        builder: Builder = Builder.AUTO,
        network: str = "default",
        scratch: Path | None = None,
    ) -> None:
        self._address = address
        self._wanted = builder
        self._network = network
        self._scratch = scratch
        self._api = EngineApi(address)

    @property
    def name(self) -> str:
        return f"docker {self._api.version().get('Version', '')}".rstrip()

    @property
    def honours(self) -> frozenset[Limit]:
        return self._client.honours

    @property
    def mounts(self) -> bool:
        return self._client.mounts

    def build(
        self,
        job: Job,
        store: Store,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> Image:
        """As the protocol says."""
        clock = Clock(job.limits.timeout_s, cancelled)
        with self._run(job, store, log, clock) as run:
            tag = run.build()
            return run.published(tag)

    def files(
        self,
        job: Job,
        store: Store,
        into: Path,
        *,
        log: Callable[[str], None],
        cancelled: Callable[[], bool],
    ) -> tuple[Path, ...]:
        """As the protocol says."""
        clock = Clock(job.limits.timeout_s, cancelled)
        with self._run(replace(job, cache_repo=None), store, log, clock) as run:
            tag = run.build()
            container = self._api.create(tag, {LABEL: job.id})
            return self._api.copy_files(container, OUT, into)

    def sweep(self, alive: Callable[[str], bool]) -> int:
        """As the protocol says."""
        return self._remove(lambda build: not alive(build.partition(".")[0]))

    def close(self) -> None:
        """Close the connections to the engine."""
        self._api.close()

    @cached_property
    def _client(self) -> Commands:
        return find_client(self._wanted)

    @contextmanager
    def _run(
        self, job: Job, store: Store, log: Callable[[str], None], clock: Clock
    ) -> Iterator[Run]:
        check_tag(job.id)
        check_limits(job.limits, self.honours)
        if job.secrets and not self.mounts:
            raise EngineNeededError(
                "This build mounts secrets, which Docker's classic builder can't: its operator "
                "must install buildx."
            )
        machine = str(self._api.version().get("Arch", ""))
        if _MACHINES.get(machine, machine) != job.platform.arch and not self._client.foreign:
            raise EngineNeededError(
                f"The container engine builds for {machine} only, not for {job.platform}."
            )
        try:
            with (
                tempfile.TemporaryDirectory(prefix="kitbag-engine-", dir=self._scratch) as folder,
                config_folder(within=self._scratch) as anonymous,
            ):
                environment = partial(self._client.environment, self._address)
                talk = Talk(
                    job, clock, log, Path(folder), environment, self._client.honours, self._answers
                )
                yield Run(job, store, talk, self._api, self._client, self._network, anonymous)
        finally:
            # An engine that died has nothing left that runs; what else it has, a sweep finds.
            with suppress(EngineUnreachableError):
                self._remove(lambda build: belongs(build, job))

    def _remove(self, unwanted: Callable[[str], bool]) -> int:
        """Remove containers, networks and images of the builds that are unwanted, in that order."""
        api = self._api
        removed = 0
        for each in api.containers():
            labels = each.get("Labels") or {}
            build = labels.get(LABEL) or self._marked(str(each["Id"]))
            if build is not None and unwanted(build):
                removed += api.remove_container(str(each["Id"]))
        for network in api.networks(LABEL):
            if unwanted(str(network["Labels"][LABEL])):
                removed += api.remove_network(str(network["Id"]))
        for name in api.tags():
            build = build_of(name)
            if build is not None and unwanted(build):
                for other in pushed_names(api.image(name) or {}):
                    api.remove_image(other)
                removed += api.remove_image(name)
        return removed

    def _answers(self) -> bool:
        with suppress(EngineUnreachableError):
            self._api.version()
            return True
        return False

    def _marked(self, container: str) -> str | None:
        found = self._api.container(container) or {}
        return marked((found.get("HostConfig") or {}).get("ExtraHosts") or ())
