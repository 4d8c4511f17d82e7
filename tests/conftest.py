"""The rig: real servers for the tests, each started once a run, the first time a test asks.

A part that this machine lacks skips the test with its reason; in CI (the variable CI is set) it
fails the test, so that nothing goes unchecked there unseen.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, expect
from rig.browser import chromium
from rig.buildkit import BuildKit
from rig.buildkit import buildkit as start_buildkit
from rig.cluster import Cluster
from rig.cluster import cluster as start_cluster
from rig.disk import disk_factory
from rig.docker import DockerEngine
from rig.docker import docker_engine as start_docker_engine
from rig.front import Front, front
from rig.git import GitServer
from rig.git import git_server as start_git_server
from rig.helm import Helm
from rig.helm import helm as build_helm
from rig.otlp import OtlpReceiver, otlp_receiver
from rig.podman import Podman
from rig.podman import podman as start_podman
from rig.postgres import Postgres, postgres_server
from rig.process import MissingPartError
from rig.proxy import Proxy, proxy
from rig.redis import RedisServer
from rig.redis import redis_server as start_redis_server
from rig.registry import Factory, Registry, registry_factory
from rig.root import bare_root as make_bare_root
from rig.root import debian_root as make_debian_root
from rig.ssh import SshServer
from rig.ssh import ssh_server as start_ssh_server
from rig.wheels import WheelFactory
from rig.wheels import wheel_factory as start_wheel_factory
from xdist.scheduler import LoadFileScheduling

T = TypeVar("T")

# Every run of CI sees the same examples; `KITBAG_FUZZ=1 pytest` looks for others.
settings.register_profile("same", derandomize=True, deadline=None)
if not os.environ.get("KITBAG_FUZZ"):
    settings.load_profile("same")


@contextmanager
def needed() -> Iterator[None]:
    """Skip the test when a part turns out to be missing, or fail it in CI."""
    try:
        yield
    except MissingPartError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI runs every part of the rig, but {missing}.", pytrace=False)
        pytest.skip(str(missing))


@contextmanager
def part(manager: AbstractContextManager[T]) -> Iterator[T]:
    """Start a part of the rig, and stop it at the end of the block."""
    with ExitStack() as stack:
        with needed():
            entered = stack.enter_context(manager)
        yield entered


class _ByFile(LoadFileScheduling):
    """`--dist=loadfile`, with all of `tests/cluster` as one file: one API server serves them."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/cluster" if nodeid.startswith("tests/cluster/") else nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByFile | None:
    """Another scheduler for `make test`; None leaves the choice to xdist."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files come first under `pytest -n`, so that no process ends long after."""
    for item in items:
        if "cluster" in _fixtures(item):
            item.add_marker(pytest.mark.timeout(1800))  # the first of all builds the API server
        if "podmans_turn" in _fixtures(item):
            item.add_marker(pytest.mark.timeout(900))  # another process may have its turn
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        return
    engine = {item.path for item in items if "docker_engine" in _fixtures(item)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    e2e = Path(__file__).parent / "e2e"
    items.sort(
        key=lambda item: (
            item.path not in engine,
            item.path not in slow,
            e2e not in item.path.parents,
        )
    )


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


@pytest.fixture(scope="session")
def make_registry() -> Iterator[Factory]:
    """Starts one more registry: `make_registry("basic" | "token", tls=…, root=…)`."""
    with part(registry_factory()) as make:
        yield make


@pytest.fixture(scope="session")
def registry(make_registry: Factory) -> Registry:
    """An open registry that the whole run shares: use repository names of your own in it."""
    return make_registry()


@pytest.fixture(scope="session")
def basic_registry(make_registry: Factory) -> Registry:
    """A registry behind a user and a password (`.credentials`)."""
    return make_registry("basic")


@pytest.fixture(scope="session")
def token_registry(make_registry: Factory) -> Registry:
    """A registry that sends its clients to a token server (`.tokens`)."""
    return make_registry("token")


@pytest.fixture
def make_proxy() -> Iterator[Callable[[int], Proxy]]:
    """Puts a network that misbehaves in front of a port: `make_proxy(registry.port)`."""
    with ExitStack() as stack:
        yield lambda target_port: stack.enter_context(proxy(target_port))


@pytest.fixture
def make_front() -> Iterator[Callable[[int], Front]]:
    """Puts a registry that does some things differently before the real one's port."""
    with ExitStack() as stack:
        yield lambda target_port: stack.enter_context(front(target_port))


@pytest.fixture
def make_disk() -> Iterator[Callable[[int], Path]]:
    """Mounts a disk of so many bytes: `make_disk(1_000_000)` returns its folder."""
    with part(disk_factory()) as make:
        yield make


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server (`.url`) that the whole run shares."""
    with part(start_redis_server()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; `create_database()` gives the URL of an empty database."""
    with part(postgres_server()) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a database that only this test has."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerEngine]:
    """A Docker Engine and its containerd: `.docker(…)`, `.run(image, …)`, `.ctr(…)`."""
    with part(start_docker_engine()) as engine:
        yield engine


@pytest.fixture
def make_docker_engine() -> Iterator[Callable[..., DockerEngine]]:
    """Starts one more Docker Engine, for a test that kills it: `make_docker_engine(data=…)`."""
    with ExitStack() as stack:

        def make(data: Path | None = None) -> DockerEngine:
            return stack.enter_context(part(start_docker_engine(data)))

        yield make


@pytest.fixture(scope="session")
def buildkit_daemon() -> Iterator[BuildKit]:
    """A BuildKit daemon (`.address`) and the folder of its client for PATH (`.programs`)."""
    with part(start_buildkit()) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def podmans_turn() -> Iterator[None]:
    """One file at a time uses podman: an engine of it ends what runs in control groups that all of
    its kind on a machine share."""
    with (Path(tempfile.gettempdir()) / "kitbag-podman.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def podman_service(podmans_turn: None) -> Iterator[Podman]:
    """A podman service: `.address`, `.podman(…)`."""
    with part(start_podman()) as service:
        yield service


@pytest.fixture
def make_podman(podmans_turn: None) -> Iterator[Callable[[], Podman]]:
    """Starts one more podman service, for a test that kills it."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(part(start_podman()))


@pytest.fixture(scope="session")
def debian_root() -> Path:
    """The tar of a Debian with Python 3.11: a base image where no registry can be reached.

    Kept in `.cache/rig`, since making it takes a minute; remove that folder to have a newer one.
    """
    with needed():
        return make_debian_root(Path(__file__).parents[1] / ".cache/rig")


@pytest.fixture(scope="session")
def bare_root() -> Path:
    """The tar of a Debian without Python, as CUDA's images are; kept in `.cache/rig` too."""
    with needed():
        return make_bare_root(Path(__file__).parents[1] / ".cache/rig")


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Renders the chart: `helm.objects(chart, release, values)`.

    Built by Go into `.cache/rig`, once for each change of `tests/cluster`.
    """
    with needed():
        return build_helm(Path(__file__).parents[1] / ".cache/rig")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Not for a module with event loops of its own: Playwright runs one."""
    expect.set_options(timeout=30_000)
    with part(chromium()) as started:
        yield started


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Kubernetes API: `cluster.admin.apply(…)`, `cluster.namespace()`, `cluster.user("ana")`.

    For tests under `tests/cluster`, which share one. Go builds it once into the user's cache.
    """
    with part(start_cluster()) as made:
        yield made


@pytest.fixture(scope="session")
def otlp() -> Iterator[OtlpReceiver]:
    """A receiver of traces: `otlp.endpoint`, `otlp.wait(trace, …)`."""
    with part(otlp_receiver()) as receiver:
        yield receiver


@pytest.fixture(scope="session")
def git_server() -> Iterator[GitServer]:
    """A git server: `git_server.repository(name, files)`, with a name that only you use."""
    with part(start_git_server()) as server:
        yield server


@pytest.fixture(scope="session")
def ssh_server() -> Iterator[SshServer]:
    """An OpenSSH server that lets one key in, for git over ssh."""
    with part(start_ssh_server()) as server:
        yield server


@pytest.fixture
def wheel_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelFactory]:
    """Makes wheels into an index that only this test has (`.wheel(…)`, `.index_url`)."""
    folder: Path = tmp_path_factory.mktemp("wheels")
    with part(start_wheel_factory(folder)) as factory:
        yield factory
