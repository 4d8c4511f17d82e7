"""What one worker process keeps from build to build: connections, caches, compilers."""

from __future__ import annotations

import dataclasses
import os
import threading
from functools import cached_property, lru_cache
from pathlib import Path

import redis

from builder.download import Downloader
from builder.engines.client import Builder
from builder.engines.open import EngineKind, open_engine
from builder.engines.protocol import Engine, Limits
from builder.layered import Tools
from builder.layers.bytecode import Compiler, find_interpreter
from builder.layers.cache import LayerCache
from builder.lock import UvSettings
from builder.model import Compression
from builder.secrets import Secrets
from builder.source import HostPolicy, SourcePolicy
from builder.stores.open import open_store
from builder.stores.protocol import Store
from catalog.engine import make_engine
from telemetry import tracing
from telemetry.logs import hide_password
from worker.index import CatalogIndex
from worker.scratch import Scratch
from worker.secrets import secrets_for
from worker.settings import WorkerSettings
from worker.traced import traced

ENGINE_ALIVE = "kitbag:engine-worker"
"""The key that workers with a container engine keep alive on the broker."""


class Services:
    """Made once a process, after any fork; every part may be used from several threads.

    Only the catalog is needed from the first moment. The other parts are opened when a build first
    needs them, so that a full disk or a wrong store is that build's error and tried again later.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        urls = (settings.database_url, settings.broker_url, settings.index_url or "")
        for url in (*urls, *settings.extra_index_urls):
            hide_password(url)
        self.engine = make_engine(settings.database_url)
        self.hosts = HostPolicy(private=settings.local, allowed=settings.allowed_hosts)
        self._index = CatalogIndex(self.engine)
        self._compilers: dict[str, Compiler | None] = {}
        self._targets: dict[str, Store] = {}
        self._lock = threading.Lock()

    @cached_property
    def store(self) -> Store:
        """Where images go."""
        settings = self.settings
        return open_store(
            settings.store_url,
            ca_bundle=settings.ca_bundle,
            host=settings.public_host,
            more_headers=tracing.headers,
        )

    def target_store(self, url: str) -> Store:
        """The registry of a target, by its URL; its credentials are those of the Docker config."""
        with self._lock:
            if url not in self._targets:
                self._targets[url] = open_store(url, ca_bundle=self.settings.ca_bundle)
            return self._targets[url]

    def engine_elsewhere(self) -> bool:
        """Whether a worker with a container engine said lately that it lives."""
        with redis.Redis.from_url(self.settings.broker_url, socket_timeout=2) as broker:
            try:
                return bool(broker.exists(ENGINE_ALIVE))
            except redis.RedisError:
                return False

    @cached_property
    def cache(self) -> LayerCache:
        """The layers of wheels that were spliced before."""
        return LayerCache(self.settings.cache_root / "layers")

    @cached_property
    def scratch(self) -> Scratch:
        """The process's own folder for what is gone when a build ends."""
        return Scratch(self.settings.cache_root / "scratch")

    @cached_property
    def containers(self) -> Engine | None:
        """The container engine, None where none is configured."""
        if self.settings.engine == "none":
            return None
        return engine_of(self.settings, self.scratch.path)

    @property
    def engine_limits(self) -> Limits:
        """What the engine may use for one build."""
        settings = self.settings
        return Limits(
            cpus=settings.engine_cpus,
            memory_bytes=settings.engine_memory_bytes,
            disk_bytes=settings.engine_disk_bytes,
            timeout_s=settings.build_timeout_s,
            processes=settings.engine_processes,
        )

    @cached_property
    def _downloader(self) -> Downloader:
        folder = self.scratch.path / "wheels"
        settings = self.settings
        urls = (settings.index_url, settings.torch_cpu_index, *settings.extra_index_urls)
        return Downloader(
            folder,
            self.hosts,
            ca_bundle=settings.ca_bundle,
            mirrors=settings.mirror_pairs,
            own=[url for url in urls if url],
        )

    def tools(
        self, python: str, environment: str = "", compression: Compression | None = None
    ) -> Tools:
        """The builder's tools for an environment's images with this Python, such as 3.11.2.

        `compression` None means the server's.
        """
        compiler = self._compiler(python) if self.settings.bytecode else None
        downloader = self.downloader(environment)
        packing = compression or Compression(self.settings.layer_compression)
        return Tools(traced(self.store), self._index, self.cache, downloader, compiler, packing)

    def downloader(self, environment: str = "") -> Downloader:
        """What fetches files of indexes, with the credentials that the environment may use."""
        return self._downloader.using(self.secrets(environment))

    def secrets(self, environment: str) -> Secrets:
        """The credentials for indexes that builds of NAMESPACE/NAME may use."""
        return secrets_for(self.settings, environment.partition("/")[0])

    def uv(self, environment: str = "") -> UvSettings:
        """How this worker resolves for an environment."""
        settings = self.settings
        return UvSettings(
            cache_dir=settings.cache_root / "uv",
            index_url=settings.index_url,
            extra_index_urls=settings.extra_index_urls,
            index_strategy=settings.index_strategy,
            torch_cpu_index=settings.torch_cpu_index,
            hosts=self.hosts,
            secrets=self.secrets(environment),
            ca_bundle=settings.ca_bundle,
        )

    def sources(self) -> SourcePolicy:
        """What this worker fetches."""
        settings = self.settings
        policy = (
            SourcePolicy.local()
            if settings.local
            else SourcePolicy(protocols=settings.git_protocols, hosts=self.hosts)
        )
        return dataclasses.replace(
            policy, ca_bundle=settings.ca_bundle, max_bytes=settings.source_max_bytes
        )

    def close(self) -> None:
        """End the compilers and connections and remove the scratch; nothing works afterwards."""
        for compiler in self._compilers.values():
            if compiler is not None:
                compiler.close()
        if "_downloader" in self.__dict__:
            self._downloader.close()
        if "scratch" in self.__dict__:
            self.scratch.close()
        self.engine.dispose()

    def _compiler(self, python: str) -> Compiler | None:
        with self._lock:
            if python not in self._compilers:
                interpreter = find_interpreter(python)
                self._compilers[python] = Compiler(interpreter) if interpreter else None
            return self._compilers[python]


def engine_of(settings: WorkerSettings, scratch: Path | None = None) -> Engine:
    """The container engine that the settings name; nothing is asked of it yet."""
    return open_engine(
        EngineKind(settings.engine),
        settings.engine_address,
        certs=settings.engine_certs,
        builder=Builder(settings.engine_builder),
        network=settings.engine_network,
        scratch=scratch,
    )


@lru_cache(maxsize=1)
def _services(pid: int) -> Services:
    del pid  # the key: a forked child makes its own
    return Services(WorkerSettings())


def services() -> Services:
    """The services of this process."""
    return _services(os.getpid())


def close_services() -> None:
    """Close the services of this process, if it has any, because it ends."""
    if _services.cache_info().currsize:
        services().close()
