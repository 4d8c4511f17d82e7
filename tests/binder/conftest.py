"""A worker with the rig's Docker Engine, over a real registry, base and package index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import needed
from rig.docker import CA_BUNDLE, DockerEngine
from rig.process import Daemon
from rig.registry import Registry
from rig.wheels import WheelFactory, wheel_factory

from builder.bases.debian import debian
from builder.errors import BaseNotFoundError
from builder.model import Base
from builder.stores.open import open_store
from catalog import bases, builds, events, versions
from catalog.build_models import Build
from catalog.engine import make_engine, migrate, reading, writing
from catalog.models import Version
from catalog.states import BuildState
from worker import building
from worker.services import Services
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
REPOS = Path(__file__).with_name("repos")
CACHE = ROOT / ".cache/kitbag/bases"


class Workshop:
    """A catalog whose store is the rig's registry, and one worker with the rig's engine."""

    def __init__(self, folder: Path, registry: Registry, rig: DockerEngine | None, base: Base,
                 index: WheelFactory, **settings: Any) -> None:  # fmt: skip
        self.engine = rig
        known: dict[str, Any] = {
            "database_url": f"sqlite:///{folder}/catalog.db",
            "data": folder / "data",
            "store": f"registry://{registry.host}/binder",
            "index_url": index.index_url,
            "ca_bundle": CA_BUNDLE if CA_BUNDLE.exists() else None,
            "local": True,
            "engine": "docker" if rig else "none",
            "engine_address": rig.host if rig else "unix:///nonexistent/docker.sock",
            "engine_network": "host",
            "binder_packages": (),
            "heartbeat_s": 0.2,
            "bytecode": False,
        } | settings
        self.settings = WorkerSettings(**known)
        migrate(self.settings.database_url)
        self.catalog = make_engine(self.settings.database_url)
        with writing(self.catalog) as session:
            bases.add(
                session, name="auto", digest=base.digest, image=base.image, record=base.to_json()
            )
        self.kit = Services(self.settings)
        self._count = 0

    def close(self) -> None:
        self.kit.close()
        self.catalog.dispose()

    @property
    def variables(self) -> dict[str, str]:
        """The settings as variables, for worker processes."""
        given = self.settings.model_dump(exclude_unset=True, exclude_none=True, mode="json")
        return {
            f"KITBAG_{key.upper()}": ",".join(value) if isinstance(value, list) else str(value)
            for key, value in given.items()
        }

    def ask(self, files: Mapping[str, str], name: str = "alice/repo", **more: Any) -> str:
        """Commit a request for these files as the API does; returns the build's id."""
        self._count += 1
        request = {"environment": name, "source": {"files": dict(files)}} | more
        with writing(self.catalog) as session:
            build, _ = builds.request_build(
                session, environment=name, request=request, request_key=f"request-{self._count}"
            )
            return build.id

    def work(self, build_id: str) -> Build:
        building.build(self.kit, build_id)
        with reading(self.catalog) as session:
            return builds.get(session, build_id)

    def build(self, files: Mapping[str, str], name: str = "alice/repo", **more: Any) -> Version:
        """Build, and the version that came of it."""
        done = self.work(self.ask(files, name, **more))
        assert done.state is BuildState.READY, (done.error, self.log(done.id)[-30:])
        with reading(self.catalog) as session:
            return versions.find(session, name, str(done.version), whole=True)

    def fails(self, files: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """The problem of a build that fails."""
        done = self.work(self.ask(files, **more))
        assert done.state is BuildState.FAILED
        return dict(done.error or {})

    def log(self, build_id: str) -> list[str]:
        with reading(self.catalog) as session:
            return [event.message for event in events.after(session, build_id, 0, 10_000)]

    def run(
        self, version: Version, *command: str, check: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """`docker run` of the version's image."""
        assert self.engine is not None
        return self.engine.run(version.image, *command, check=check, **more)


def repo(name: str) -> dict[str, str]:
    """The files of a fixture."""
    top = REPOS / name
    return {
        str(path.relative_to(top)): path.read_text()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelFactory]:
    """An index with pip and a few tiny packages."""
    with needed(), wheel_factory(tmp_path_factory.mktemp("binder-index")) as factory:
        factory.wheel("pip")
        for version in ("1.0", "2.0"):
            factory.wheel("one", version)
        factory.wheel("two", requires=["one"])
        yield factory


@pytest.fixture(scope="session")
def base(registry: Registry) -> Base:
    """The Debian base, in the registry where the workshop's images go."""
    store = open_store(f"registry://{registry.host}/binder")
    try:
        return debian(store, cache=CACHE, report=lambda _: None, name="auto")
    except BaseNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def make_workshop(
    tmp_path_factory: pytest.TempPathFactory,
    registry: Registry,
    docker_engine: DockerEngine,
    base: Base,
    index: WheelFactory,
) -> Iterator[Callable[..., Workshop]]:
    """Makes a workshop; the arguments are settings."""
    made: list[Workshop] = []

    def make(**settings: Any) -> Workshop:
        folder = tmp_path_factory.mktemp("workshop")
        engine = None if settings.pop("without_engine", False) else docker_engine
        own = settings.pop("base", base)
        made.append(Workshop(folder, registry, engine, own, index, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def workshop(make_workshop: Callable[..., Workshop]) -> Workshop:
    return make_workshop()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts `kitbag-server worker` with these variables; killed at the end."""
    started: list[Daemon] = []

    def start(variables: Mapping[str, str], *arguments: str) -> Daemon:
        log = tmp_path / f"worker-{len(started)}.log"
        daemon = Daemon(
            [str(Path(sys.executable).parent / "kitbag-server"), "worker", *arguments],
            log=log,
            ready=lambda: " ready." in log.read_text(errors="replace"),
            timeout_s=90,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "C_FORCE_ROOT": "1"}
            | dict(variables),
        )
        started.append(daemon)
        daemon.start()
        return daemon

    yield start
    for daemon in started:
        daemon.stop(timeout_s=30)
