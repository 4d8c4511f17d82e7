"""A Docker Engine: its own builder or BuildKit makes the image, which then goes into the store.

base ─> load or pull ─> build ─┬─> push ──────────────────────┬─> read back
                               └─> save, compress, verify ────┘

The base is fetched before the build and the image pushed after it, each with the registry's login.
The build itself knows no login: a Dockerfile starts FROM nothing that only the operator may see.
"""

from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from builder.engines.address import Address
from builder.engines.api import EngineApi
from builder.engines.archive import ingest_archive, read_back, write_archive
from builder.engines.client import Builder, Client, find_client, marked
from builder.engines.failures import failure
from builder.engines.logins import config_folder
from builder.engines.logs import Redactor, secret_texts
from builder.engines.process import Clock, run_lines
from builder.engines.protocol import OUT, Job, Limit
from builder.engines.watch import DiskWatch, ProcessCap, Steps
from builder.errors import (
    EngineBuildError,
    EngineNeededError,
    EngineUnreachableError,
    StoreRefusedError,
)
from builder.layered import tag_of
from builder.model import Image, Pinned
from builder.stores.names import check_tag
from builder.stores.protocol import Store
from builder.stores.registry import RegistryStore

LABEL = "kitbag.dev/build"
BUILDS = "kitbag.dev/build"
"""The repository whose tags are the ids of builds; only ever a name inside an engine."""
BASES = "kitbag.dev/base"

_REMEMBERED = 50
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
        return self._client.builder is Builder.BUILDKIT

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
    def _client(self) -> Client:
        return find_client(self._wanted)

    @contextmanager
    def _run(
        self, job: Job, store: Store, log: Callable[[str], None], clock: Clock
    ) -> Iterator[_Run]:
        check_tag(job.id)
        if job.secrets and not self.mounts:
            raise EngineNeededError(
                "This build mounts secrets, which Docker's classic builder can't: its operator "
                "must install buildx."
            )
        machine = str(self._api.version().get("Arch", ""))
        if _MACHINES.get(machine, machine) != job.platform.arch and not self._client.buildx:
            raise EngineNeededError(
                f"The container engine builds for {machine} only, not for {job.platform}."
            )
        try:
            with (
                tempfile.TemporaryDirectory(prefix="kitbag-engine-", dir=self._scratch) as folder,
                config_folder(within=self._scratch) as anonymous,
            ):
                yield _Run(
                    job, store, clock, log, self._api, self._address, self._client,
                    self._network, Path(folder), anonymous,
                )  # fmt: skip
        finally:
            # An engine that died has nothing left that runs; what else it has, a sweep finds.
            with suppress(EngineUnreachableError):
                self._remove(lambda build: build == job.id)
                if job.base is not None and not job.keep_base:
                    self._api.remove_image(_base_name(job.base, store))

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
        for name in api.images(BUILDS):
            if unwanted(name.removeprefix(f"{BUILDS}:")):
                for other in _pushed_names(api, name):
                    api.remove_image(other)
                removed += api.remove_image(name)
        return removed

    def _marked(self, container: str) -> str | None:
        found = self._api.container(container) or {}
        return marked((found.get("HostConfig") or {}).get("ExtraHosts") or ())


@dataclass(frozen=True, slots=True)
class _Run:
    """One build, from its base to its image in the store."""

    job: Job
    store: Store
    clock: Clock
    log: Callable[[str], None]
    api: EngineApi
    address: Address
    client: Client
    network: str
    folder: Path
    anonymous: Path

    def build(self) -> str:
        """Make the image in the engine; returns its name there."""
        job, tag = self.job, f"{BUILDS}:{self.job.id}"
        arguments = dict(job.args)
        if job.base is not None:
            arguments["BASE"] = self._base(job.base)
        cache = self._cached()
        self.clock.check()
        command = self.client.build(
            job, tag, network=self.network, arguments=arguments, cache=cache
        )
        secrets = secret_texts(job.secrets.values())
        steps = Steps(self.api, job.id)
        watch = DiskWatch(self.api, steps, job.limits.disk_bytes)
        cap = ProcessCap(self.api, steps, job.limits.processes)

        def probe() -> None:
            cap.check()
            watch.check()

        self._command(command, config=self.anonymous, secrets=secrets, probe=probe)
        made = self.api.image(tag)
        if made is None:
            raise EngineUnreachableError("The container engine lost the image that it just built.")
        watch.check_image(int(made.get("Size") or 0))
        return tag

    def published(self, tag: str) -> Image:
        """Put the image into the store, and say what the store has then."""
        job = self.job
        if isinstance(self.store, RegistryStore):
            image = self._pushed(self.store, tag)
            self._keep_cache(self.store, tag)
            return image
        archive = self.folder / "image.tar"
        self._command([self.client.docker, "save", f"--output={archive}", tag])
        return ingest_archive(
            archive, self.store, job.repo, job.platform, base=job.base, check=self.clock.check
        )

    def _base(self, base: Pinned) -> str:
        """The name of the base in the engine, which has it then."""
        if isinstance(self.store, RegistryStore):
            if self.api.image(base.image) is None:
                self.log(f"Fetching the base {base.name}")
                self._command([self.client.docker, "pull", base.image], login=self.store)
            return base.image
        name = _base_name(base, self.store)
        if self.api.image(name) is None:
            self.log(f"Giving the engine the base {base.name}")
            archive = self.folder / "base.tar"
            write_archive(base, self.store, name, archive, self.clock.check)
            self._command([self.client.docker, "load", f"--input={archive}"])
            archive.unlink()
        return name

    def _pushed(self, store: RegistryStore, tag: str) -> Image:
        job = self.job
        made = self.api.image(tag) or {}
        # A tag that follows from the image, so that the same image leaves the same tags behind.
        name = _pushed_name(store, job.repo, str(made.get("Id")))
        self._push(store, tag, name)
        self.clock.check()
        image = read_back(store, job.repo, name.rpartition(":")[2], job.platform)
        manifest = store.manifest(job.repo, image.digest)
        assert manifest is not None
        store.put_manifest(job.repo, manifest, tags=[tag_of(image.digest)])
        return image

    def _cached(self) -> str | None:
        """The image in the engine that brings the cache of an earlier build, None without one."""
        if self.job.cache_repo is None or not isinstance(self.store, RegistryStore):
            return None
        name = f"{self.store.name}/{self.job.cache_repo}:cache"
        with suppress(EngineBuildError, StoreRefusedError):
            self._command([self.client.docker, "pull", "--quiet", name], login=self.store)
        return name

    def _keep_cache(self, store: RegistryStore, tag: str) -> None:
        if self.job.cache_repo is not None:
            self._push(store, tag, f"{store.name}/{self.job.cache_repo}:cache")

    def _push(self, store: RegistryStore, tag: str, name: str) -> None:
        self._command([self.client.docker, "tag", tag, name])
        try:
            self._command([self.client.docker, "push", name], login=store, pushing=True)
        finally:
            with suppress(EngineUnreachableError):
                self.api.remove_image(name)

    def _command(
        self,
        command: Sequence[str],
        *,
        config: Path | None = None,
        login: RegistryStore | None = None,
        pushing: bool = False,
        secrets: Sequence[str] = (),
        probe: Callable[[], None] = lambda: None,
    ) -> None:
        """Run the client with a login or none; raises what its failure means."""
        known = login.login() if login is not None else None
        redact = Redactor([*secrets, *(known.secrets if known else ())])
        said: deque[str] = deque(maxlen=_REMEMBERED)

        def line(text: str) -> None:
            shown = redact(text)
            said.append(shown)
            self.log(shown)

        host = login.host if login is not None else ""
        with config_folder(host, known, within=self.folder) as own:
            status = run_lines(
                command,
                env=self.client.environment(self.address, config or own),
                cwd=self.folder,
                line=line,
                clock=self.clock,
                probe=probe,
            )
        if status:
            raise self._failed(list(said), login, pushing)

    def _failed(self, said: list[str], login: RegistryStore | None, pushing: bool) -> Exception:
        error = failure(said, self.job.limits, self.client.honours, answers=self._answers())
        if login is not None and isinstance(error, EngineBuildError):
            what = "take the image from the engine" if pushing else "give the engine an image"
            reason = (said[-1] if said else "it gave no reason")[:200]
            return StoreRefusedError(f"{login.name} did not {what}: {reason}")
        return error

    def _answers(self) -> bool:
        with suppress(EngineUnreachableError):
            self.api.version()
            return True
        return False


def _base_name(base: Pinned, store: Store) -> str:
    """What an engine calls a base of the store."""
    return base.image if isinstance(store, RegistryStore) else f"{BASES}:{tag_of(base.digest)}"


def _pushed_name(store: RegistryStore, repo: str, image_id: str) -> str:
    named = store.reference(repo, image_id).partition("@")[0]
    return f"{named}:image-{image_id.removeprefix('sha256:')[:16]}"


def _pushed_names(api: EngineApi, name: str) -> list[str]:
    """Names that an image got to be pushed under, which a killed worker left."""
    tags = (api.image(name) or {}).get("RepoTags") or ()
    return [str(each) for each in tags if re.search(r":(?:image-[0-9a-f]{16}|cache)$", str(each))]
