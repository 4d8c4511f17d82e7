"""A worker's parts over a real catalog, a real index and a base of a few bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from rig.process import Daemon
from rig.proxy import Proxy, proxy
from rig.redis import RedisServer
from rig.wheels import WheelFactory

from builder.model import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Base,
    Descriptor,
    Layer,
    Platform,
    PythonInfo,
)
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest
from catalog import bases, builds, events, versions
from catalog.allowance import Allowance
from catalog.build_models import Build, Event
from catalog.engine import make_engine, migrate, reading, writing
from catalog.models import Version
from catalog.states import ENDED, BuildState
from worker import building
from worker.services import Services
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
PYTHON = platform.python_version()
MINOR = "{}.{}".format(*sys.version_info[:2])


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tiny_base(layout: Path, name: str = "auto", python: str = PYTHON, arch: str = "amd64") -> Base:
    """An image of one layer with one small file in the layout, as if it were a base."""
    repo = f"kitbag/base/{name}"
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        entry = tarfile.TarInfo("etc/base")
        content = name if arch == "amd64" else f"{name} {arch}"
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content.encode()))
    blob = gzip.compress(plain.getvalue(), mtime=0)
    layer = Layer(Descriptor(LAYER_TYPE, digest(blob), len(blob)), digest(plain.getvalue()))
    config = json.dumps(
        {
            "os": "linux",
            "architecture": arch,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
    ).encode()
    configured = Descriptor(CONFIG_TYPE, digest(config), len(config))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": configured.as_oci(),
            "layers": [layer.descriptor.as_oci()],
        }
    ).encode()
    store = LayoutStore(layout)
    store.put_blob(repo, layer.descriptor, lambda: io.BytesIO(blob))
    store.put_blob(repo, configured, lambda: io.BytesIO(config))
    store.put_manifest(repo, Manifest(MANIFEST_TYPE, digest(manifest), manifest), tags=["x"])
    return Base(
        name=name,
        image=store.reference(repo, digest(manifest)),
        digest=digest(manifest),
        platform=Platform("linux", arch),
        layers=(layer,),
        python=PythonInfo(python, "/usr/bin/python3"),
        glibc=(2, 36),
        passwd="root:x:0:0:root:/root:/bin/sh\n",
        group="root:x:0:\n",
    )


def gone(pid: int, timeout_s: float = 15) -> bool:
    """Whether a process ends."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


class Site:
    """A catalog with the base `auto`, a layout, an index; and what the API would do with them.

    `network` lies between the worker and the index.
    """

    def __init__(self, folder: Path, index: WheelFactory, network: Proxy, **settings: Any) -> None:
        self.folder = folder
        self.index = index
        self.network = network
        known: dict[str, Any] = {
            "database_url": f"sqlite:///{folder}/catalog.db",
            "data": folder / "data",
            "index_url": f"{network.url}/simple/",
            "local": True,
            "heartbeat_s": 0.2,
            "lease_s": 2,
            "base_image": "127.0.0.1:9/python:{python}",
        } | settings
        self.settings = WorkerSettings(**known)
        migrate(self.settings.database_url)
        self.engine = make_engine(self.settings.database_url)
        self.layout = folder / "data" / "layout"
        self._numbers = count()
        self._closing: list[Services] = []
        self.add_base("auto")

    @property
    def kit(self) -> Services:
        """The services of one worker process, which this test's is."""
        if not self._closing:
            self._closing.append(Services(self.settings))
        return self._closing[0]

    def close(self) -> None:
        for kit in self._closing:
            kit.close()
        self.engine.dispose()

    @property
    def variables(self) -> dict[str, str]:
        """The settings as variables, for worker processes."""
        given = self.settings.model_dump(exclude_unset=True, mode="json")
        return {f"KITBAG_{key.upper()}": str(value) for key, value in given.items()}

    def add_base(self, name: str, python: str = PYTHON, arch: str = "amd64") -> Base:
        base = tiny_base(self.layout, name, python, arch)
        with writing(self.engine) as session:
            bases.add(
                session, name=name, digest=base.digest, image=base.image, record=base.to_json()
            )
        return base

    def ask(
        self,
        *requirements: str,
        environment: str = "alice/gan",
        files: Mapping[str, str] | None = None,
        key: str | None = None,
        allowance: Allowance | None = None,
        created_by: str = "",
        **more: Any,
    ) -> str:
        """Commit a request as the API does; returns the build's id."""
        source = {"files": dict(files or {"requirements.txt": "\n".join(requirements)})}
        with writing(self.engine) as session:
            build, _ = builds.request_build(
                session,
                environment=environment,
                request={"environment": environment, "source": source} | more,
                request_key=key or f"request-{next(self._numbers)}",
                allowance=allowance,
                created_by=created_by,
            )
            return build.id

    def work(self, *requirements: str, **more: Any) -> Build:
        """Ask, and do a worker's whole work for it in this process."""
        build_id = self.ask(*requirements, **more)
        building.build(self.kit, build_id)
        return self.row(build_id)

    def made(self, *requirements: str, **more: Any) -> Version:
        """The version that comes of it, with its packages."""
        done = self.work(*requirements, **more)
        assert done.state is BuildState.READY, done.error
        with reading(self.engine) as session:
            name = done.environment.full_name
            return versions.find(session, name, str(done.version), whole=True)

    def row(self, build_id: str) -> Build:
        with reading(self.engine) as session:
            return builds.get(session, build_id)

    def events(self, build_id: str) -> list[Event]:
        with reading(self.engine) as session:
            return list(events.after(session, build_id, 0, 10_000))

    def wait(self, build_id: str, *states: BuildState, timeout_s: float = 60) -> Build:
        """The build once it is in one of these states (unless given: once it has ended)."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            row = self.row(build_id)
            if row.state in (states or ENDED):
                return row
            time.sleep(0.02)
        raise AssertionError(f"build {build_id} is {row.state}, not {states or 'at its end'}")


@pytest.fixture
def make_site(tmp_path: Path, wheel_factory: WheelFactory) -> Iterator[Callable[..., Site]]:
    """Makes a site; the arguments are settings."""
    made: list[Site] = []
    port = int(wheel_factory.index_url.split(":")[2].split("/")[0])
    wheel_factory.wheel("pip")
    for version in ("1.0", "2.0"):
        wheel_factory.wheel("one", version)
    wheel_factory.wheel("two", requires=["one"])

    def make(**settings: Any) -> Site:
        folder = tmp_path / f"site-{len(made)}"
        folder.mkdir()
        made.append(Site(folder, wheel_factory, stack.enter_context(proxy(port)), **settings))
        stack.callback(made[-1].close)
        return made[-1]

    with ExitStack() as stack:
        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture(scope="session")
def dead_process() -> str:
    """What a worker that has died had told the catalog of itself."""
    told = subprocess.run(
        [sys.executable, "-c", "from worker import identity; print(identity.me())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return told.stdout.strip()


@pytest.fixture
def start_worker(tmp_path: Path, redis_server: RedisServer) -> Iterator[Callable[..., Daemon]]:
    """Starts `kitbag-server worker` for a site whose broker_url is Redis'; killed at the end."""
    started: list[Daemon] = []

    def start(site: Site, *arguments: str, **variables: str) -> Daemon:
        log = tmp_path / f"worker-{len(started)}.log"
        daemon = Daemon(
            [str(Path(sys.executable).parent / "kitbag-server"), "worker", *arguments],
            log=log,
            ready=lambda: " ready." in log.read_text(errors="replace"),
            timeout_s=90,
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(tmp_path),
                "C_FORCE_ROOT": "1",
            }
            | site.variables
            | variables,
        )
        started.append(daemon)
        daemon.start()
        return daemon

    yield start
    for daemon in started:
        daemon.stop(timeout_s=30)
