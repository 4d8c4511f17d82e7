"""Real servers for the end-to-end tests, and an index of small wheels that they build from."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.servers import (
    BASES,
    NO_REGISTRY,
    Deploy,
    Deployed,
    Embedded,
    SlowIndex,
    StartEmbedded,
    deployer,
    embedded_starter,
)
from rig.otlp import OtlpReceiver
from rig.postgres import Postgres
from rig.proxy import Proxy
from rig.redis import RedisServer
from rig.registry import Registry
from rig.wheels import WheelFactory
from rig.wheels import wheel_factory as start_wheel_factory

from builder.bases.debian import debian
from builder.stores.layout import LayoutStore


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes an empty folder that nobody else has."""
    numbers, lock = itertools.count(1), threading.Lock()

    def make() -> Path:
        with lock:
            return tmp_path_factory.mktemp(f"kitbag-{next(numbers)}")

    return make


@pytest.fixture(scope="session")
def debian_made(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make the Debian root if this machine has none yet: a build's time is too short for it."""
    if shutil.which("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "mmdebstrap is not installed: `apt-get install mmdebstrap` brings it"
        )
    BASES.mkdir(parents=True, exist_ok=True)
    debian(LayoutStore(tmp_path_factory.mktemp("base")), cache=BASES, report=lambda _: None)


@pytest.fixture(scope="session")
def index(new_folder: Callable[[], Path]) -> Iterator[WheelFactory]:
    """An index of small wheels that the run shares; make more in it with names of your own.

    It has `one` 1.0 and 2.0 with a command `one`, `two` (needs `one`), `three` and `four` 1.0, and
    `onlysource`, which has no wheel.
    """
    with start_wheel_factory(new_folder()) as made:
        made.wheel("pip", "99.0")  # every environment has it
        for version in ("1.0", "2.0"):
            source = f'__version__ = "{version}"\n\ndef main():\n    print("one", __version__)\n'
            made.wheel("one", version, {"one.py": source}, scripts={"one": "one:main"})
        made.wheel("two", requires=["one"])
        made.wheel("three")
        made.wheel("four")
        made.sdist("onlysource")
        yield made


@pytest.fixture(scope="session")
def small_settings(index: WheelFactory, debian_made: None) -> dict[str, str]:
    """Settings of a server that builds from the small index, on the Debian base."""
    return {"KITBAG_INDEX_URL": index.index_url, "KITBAG_BASE_IMAGE": NO_REGISTRY}


@pytest.fixture
def start_embedded(
    new_folder: Callable[[], Path], small_settings: dict[str, str]
) -> Iterator[StartEmbedded]:
    """Starts `kitbag-server up` for this test: `start_embedded(KITBAG_LEASE_S="3")`."""
    with embedded_starter(new_folder, small_settings) as start:
        yield start


@pytest.fixture(scope="session")
def embedded(new_folder: Callable[[], Path], small_settings: dict[str, str]) -> Iterator[Embedded]:
    """One `kitbag-server up` that the run shares: use your own environments, don't kill it."""
    with embedded_starter(new_folder, small_settings) as start:
        yield start()


@pytest.fixture(scope="session")
def broker_url(redis_server: RedisServer) -> Callable[[], str]:
    """Gives the URL of a database of the run's Redis that nobody else uses."""
    return redis_server.new_database


@pytest.fixture
def deploy(new_folder: Callable[[], Path], small_settings: dict[str, str]) -> Iterator[Deploy]:
    """Starts API and workers for this test: `deploy(store=…, database_url=…, broker_url=…)`."""
    with deployer(new_folder, small_settings) as start:
        yield start


@pytest.fixture(scope="session")
def deployed(
    new_folder: Callable[[], Path],
    small_settings: dict[str, str],
    postgres: Postgres,
    registry: Registry,
    broker_url: Callable[[], str],
    otlp: OtlpReceiver,
) -> Iterator[Deployed]:
    """API and worker over PostgreSQL, Redis and a registry, shared by the run: don't kill them.

    They log in JSON and send their traces to `otlp`.
    """
    with deployer(new_folder, small_settings) as start:
        yield start(
            store=f"registry://{registry.host}/e2e",
            database_url=postgres.create_database(),
            broker_url=broker_url(),
            KITBAG_LOG_FORMAT="json",
            KITBAG_LOG_LEVEL="info",
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="200",
        )


@pytest.fixture
def slow_index(index: WheelFactory, make_proxy: Callable[[int], Proxy]) -> SlowIndex:
    """The small index on a network that takes half a minute for the first answer, till told."""
    return SlowIndex(make_proxy(int(index.index_url.split(":")[2].split("/")[0])))


@pytest.fixture(scope="session")
def skopeo() -> str:
    """The path of skopeo, which copies and inspects images."""
    found = shutil.which("skopeo")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "skopeo is not installed: `apt-get install skopeo` brings it"
        )
    return found
