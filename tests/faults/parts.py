"""A whole deployment whose every part may be killed, and whose every line may be cut."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.servers import NO_REGISTRY, Deployed
from rig.disk import disk_factory
from rig.docker import CA_BUNDLE, DockerEngine, docker_engine
from rig.postgres import Postgres, postgres_server
from rig.process import program
from rig.proxy import Proxy, proxy
from rig.redis import RedisServer, redis_server
from rig.registry import Registry, registry_factory
from rig.wheels import WheelFactory, wheel_factory

LINES = (
    ("api", "catalog"),
    ("api", "queue"),
    ("worker", "catalog"),
    ("worker", "queue"),
    ("worker", "registry"),
    ("worker", "index"),
)
"""Who speaks to whom; each pair has a line of its own, so that one may be cut for one of them."""

_CLOCK = Path(__file__).with_name("clock.c")
_DISK_BYTES = 1 << 30
_QUICK = {
    "KITBAG_HEARTBEAT_S": "0.5",
    "KITBAG_LEASE_S": "6",
    "KITBAG_SWEEP_S": "1",
    "KITBAG_MAX_ATTEMPTS": "10",
}


@dataclass(frozen=True, slots=True)
class Site:
    """Two workers and an API over PostgreSQL, Redis, a registry, an index, perhaps an engine.

    `disks` are those that may be filled, by name; `clocks` are files that say how far the clock of
    one process is off, by its name.
    """

    kitbag: Deployed
    catalog: Postgres
    queue: RedisServer
    registry: Registry
    index: WheelFactory
    engine: DockerEngine | None
    lines: Mapping[tuple[str, str], Proxy]
    disks: Mapping[str, Path] = field(default_factory=dict)
    clocks: Mapping[str, Path] = field(default_factory=dict)


@contextmanager
def opened(
    folder: Path, *, engine: bool = False, disks: bool = False, clocks: bool = False
) -> Iterator[Site]:
    """Start all parts in an empty folder; raises MissingPartError for what is not installed."""
    with ExitStack() as stack:
        index = stack.enter_context(wheel_factory(_made(folder / "index")))
        index.wheel("pip", "99.0")  # every environment has it
        for name in ("one", "two", "three"):
            index.wheel(name)
        catalog = stack.enter_context(postgres_server(durable=True))
        queue = stack.enter_context(redis_server())
        mounted: dict[str, Path] = {}
        if disks:
            make_disk = stack.enter_context(disk_factory())
            mounted = {name: make_disk(_DISK_BYTES) for name in ("registry", "worker")}
        registry = stack.enter_context(registry_factory())(root=mounted.get("registry"))
        docker = stack.enter_context(docker_engine()) if engine else None
        ports = {
            "catalog": catalog.port,
            "queue": queue.port,
            "registry": registry.port,
            "index": index.port,
        }
        lines = {pair: stack.enter_context(proxy(ports[pair[1]])) for pair in LINES}
        offsets = _clocks(folder) if clocks else {}
        kitbag = Deployed(
            folder / "data",
            _settings(folder, index, lines, docker, mounted),
            2,
            own=_own(catalog.create_database(), lines, offsets),
        )
        stack.callback(kitbag.http.close)
        stack.callback(kitbag.stop)
        kitbag.start()
        yield Site(kitbag, catalog, queue, registry, index, docker, lines, mounted, offsets)


def _settings(
    folder: Path,
    index: WheelFactory,
    lines: Mapping[tuple[str, str], Proxy],
    engine: DockerEngine | None,
    mounted: Mapping[str, Path],
) -> dict[str, str]:
    settings = {
        **_QUICK,
        "KITBAG_DATA": str(folder / "data"),
        "KITBAG_STORE": f"registry://{lines['worker', 'registry'].host}/faults",
        "KITBAG_INDEX_URL": f"{lines['worker', 'index'].url}/simple/",
        "KITBAG_BASE_IMAGE": NO_REGISTRY,
        "KITBAG_LOCAL": "true",
        "KITBAG_CACHE": str(mounted.get("worker", folder / "data") / "cache"),
        "TMPDIR": str(_made(mounted.get("worker", folder) / "tmp")),
    }
    if engine is not None:
        settings |= {
            "KITBAG_ENGINE": "docker",
            "KITBAG_ENGINE_ADDRESS": engine.host,
            "KITBAG_ENGINE_NETWORK": "host",
            "KITBAG_BINDER_PACKAGES": "",
        }
        if CA_BUNDLE.exists():
            settings["KITBAG_CA_BUNDLE"] = str(CA_BUNDLE)
    return settings


def _own(
    database_url: str, lines: Mapping[tuple[str, str], Proxy], clocks: Mapping[str, Path]
) -> dict[str, dict[str, str]]:
    """The variables of each process: its lines, and its clock."""
    name = database_url.rpartition("/")[2]
    own: dict[str, dict[str, str]] = {}
    for process in ("api", "worker-1", "worker-2"):
        kind = process.partition("-")[0]
        own[process] = {
            "KITBAG_DATABASE_URL": (f"postgresql://kitbag@{lines[kind, 'catalog'].host}/{name}"),
            "KITBAG_BROKER_URL": f"redis://{lines[kind, 'queue'].host}/0",
        }
        if process in clocks:
            own[process] |= {
                "LD_PRELOAD": str(clocks[process].with_name("clock.so")),
                "KITBAG_CLOCK": str(clocks[process]),
            }
    own[""] = own["worker-1"] | {"LD_PRELOAD": ""}
    return own


def _clocks(folder: Path) -> dict[str, Path]:
    """A file for each process's clock, beside what makes the process read it."""
    compiler = program("cc", "gcc")
    library = folder / "clock.so"
    argv = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(_CLOCK)]
    subprocess.run(argv, check=True)
    found = {process: folder / f"clock-{process}" for process in ("api", "worker-1", "worker-2")}
    for clock in found.values():
        put_off(clock, 0)
    return found


def put_off(clock: Path, seconds: int) -> None:
    """Put a process's clock forward or back."""
    with clock.open("r+b" if clock.exists() else "wb") as stream:  # whoever maps it sees it
        stream.write(struct.pack("=q", seconds))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
