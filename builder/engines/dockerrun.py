"""One build by a Docker Engine, from its base to its image in the store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.engines.api import EngineApi
from builder.engines.archive import ingest_archive, write_archive
from builder.engines.client import Commands
from builder.engines.logs import secret_texts
from builder.engines.names import BUILDS, base_name, own_name, pushed_name
from builder.engines.protocol import Job
from builder.engines.talk import Talk, published
from builder.engines.watch import DiskWatch, ProcessCap, Steps
from builder.errors import EngineBuildError, EngineUnreachableError, StoreRefusedError
from builder.model import Image, Pinned
from builder.stores.protocol import Store
from builder.stores.registry import RegistryStore


@dataclass(frozen=True, slots=True)
class Run:
    """`network` is what steps are on where the job's is open; `anonymous` configures no login."""

    job: Job
    store: Store
    talk: Talk
    api: EngineApi
    client: Commands
    network: str
    anonymous: Path

    def build(self) -> str:
        """Make the image in the engine; returns its name there."""
        job, tag = self.job, f"{BUILDS}:{self.job.id}"
        arguments = dict(job.args)
        if job.base is not None:
            base, own = self._base(job.base), own_name(job)
            alias = self.client.alias(base, own) if base != own else []
            if alias:
                self.talk.run(alias)
            arguments["BASE"] = own if alias else base
        cache = self._cached()
        self.talk.clock.check()
        command = self.client.build(
            job,
            tag,
            network=self.network,
            arguments=arguments,
            cache=cache,
            folder=self.talk.folder,
        )
        secrets = secret_texts(job.secrets.values())
        steps = Steps(self.api, job.id)
        watch = DiskWatch(self.api, steps, job.limits.disk_bytes)
        cap = ProcessCap(self.api, steps, job.limits.processes)

        def probe() -> None:
            cap.check()
            watch.check()

        self.talk.run(command, config=self.anonymous, secrets=secrets, probe=probe)
        made = self.api.image(tag)
        if made is None:
            raise EngineUnreachableError("The container engine lost the image that it just built.")
        watch.check_image(int(made.get("Size") or 0))
        return tag

    def published(self, tag: str) -> Image:
        """Put the image into the store, and say what the store has then."""
        job = self.job
        if isinstance(self.store, RegistryStore):
            made = self.api.image(tag) or {}
            name = pushed_name(self.store, job.repo, str(made.get("Id")))
            self._push(self.store, tag, name)
            self.talk.clock.check()
            image = published(self.store, job, name.rpartition(":")[2])
            if job.cache_repo is not None:
                self._push(self.store, tag, f"{self.store.name}/{job.cache_repo}:cache")
            return image
        archive = self.talk.folder / "image.tar"
        self.talk.run(self.client.save(tag, archive))
        return ingest_archive(
            archive, self.store, job.repo, job.platform, base=job.base, check=self.talk.clock.check
        )

    def _base(self, base: Pinned) -> str:
        """The name of the base in the engine, which has it then."""
        name = base_name(base, self.store, self.job)
        if self.job.keep_base and self.api.image(name) is not None:
            return name
        if isinstance(self.store, RegistryStore):
            self.talk.log(f"Fetching the base {base.name}")
            self.talk.run(self.client.pull(name, self.store), login=self.store)
            if base.image not in ((self.api.image(name) or {}).get("RepoDigests") or ()):
                raise StoreRefusedError(f"{name} is not {base.digest} any more: build it again.")
            return name
        self.talk.log(f"Giving the engine the base {base.name}")
        archive = self.talk.folder / "base.tar"
        write_archive(base, self.store, name, archive, self.talk.clock.check)
        self.talk.run(self.client.load(archive))
        archive.unlink()
        return name

    def _cached(self) -> str | None:
        """The image in the engine that brings the cache of an earlier build, None without one."""
        if self.job.cache_repo is None or not isinstance(self.store, RegistryStore):
            return None
        name = f"{self.store.name}/{self.job.cache_repo}:cache"
        with suppress(EngineBuildError, StoreRefusedError):
            self.talk.run(self.client.pull(name, self.store), login=self.store)
        return name

    def _push(self, store: RegistryStore, tag: str, name: str) -> None:
        try:
            for command in self.client.push(tag, name, store):
                self.talk.run(command, login=store, wish="take the image from the engine")
        finally:
            with suppress(EngineUnreachableError):
                self.api.remove_image(name)
