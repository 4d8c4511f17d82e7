"""However a build ends, its state is right and nothing of it is left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.docker import DockerEngine as RigEngine
from rig.process import temp_dir
from rig.registry import Registry

from builder.engines.address import Address
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.protocol import Limits
from builder.errors import (
    CancelledError,
    DiskFullError,
    EngineUnreachableError,
    LimitExceededError,
    StoreRefusedError,
    TimedOutError,
)
from builder.stores.credentials import Fixed, Login
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore

from .conftest import Builds, put_root

pytestmark = pytest.mark.rig
Leftovers = Callable[[], list[str]]


@pytest.fixture
def nap() -> str:
    """A command that is still there much later, and that no other test runs."""
    return f"sleep {random.randrange(1000, 10_000_000)}"


def gone(command: str) -> None:
    """Return once no process of this machine runs the command."""
    deadline = time.monotonic() + 60
    while command in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout:
        assert time.monotonic() < deadline, f"{command} still runs"
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def temporary(
    monkeypatch: pytest.MonkeyPatch, docker_engine: RigEngine, basic_registry: Registry
) -> Iterator[Path]:
    """Where temporary files go in these tests, to see that they are gone.

    Servers that outlive the test have theirs already, elsewhere.
    """
    with temp_dir("faults") as folder:  # short, since engines of tests have their sockets in it
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest, temporary: Path, nap: str) -> Iterator[None]:
    """Every test here ends with an engine and a temporary folder as they were."""
    leftovers: Leftovers = request.getfixturevalue("leftovers")
    yield
    assert leftovers() == []
    assert list(temporary.glob("kitbag-engine-*")) == []
    gone(nap)


def bases_of(builds: Builds) -> list[str]:
    """The bases that the engine has, by its names for them."""
    return [name for name in builds.engine._api.tags() if name.startswith("kitbag.dev/base:")]


def cancelled_within(seconds: float, run: Callable[[], object], builds: Builds) -> None:
    """Run until a line says that it is time to cancel; the rest takes no longer than that."""
    began: list[float] = []
    told = builds.told

    def stop() -> None:
        began.append(time.monotonic())
        told.stopped = True

    told.at = stop
    with pytest.raises(CancelledError):
        run()
    assert time.monotonic() - began[0] < seconds


def test_a_build_is_cancelled_in_the_middle_of_a_step(in_layout: Builds, nap: str) -> None:
    in_layout.told.stop_at = "now"
    cancelled_within(60, lambda: in_layout.build(f"RUN echo now; {nap}"), in_layout)


def test_a_build_is_cancelled_before_it_begins(in_layout: Builds) -> None:
    in_layout.told.stopped = True
    with pytest.raises(CancelledError):
        in_layout.build("RUN true")


def test_a_build_is_cancelled_while_its_base_comes(in_layout: Builds) -> None:
    in_layout.told.stop_at = "base tiny"
    for name in bases_of(in_layout):
        in_layout.engine._api.remove_image(name)
    cancelled_within(60, lambda: in_layout.build("RUN true"), in_layout)


def test_a_build_is_cancelled_while_its_image_is_pushed(in_registry: Builds) -> None:
    in_registry.told.stop_at = "Preparing"
    cancelled_within(60, lambda: in_registry.build("RUN true", repo="hep/never"), in_registry)
    assert in_registry.store.manifest("hep/never", "latest") is None


def test_a_step_that_never_ends_meets_its_time_limit(in_layout: Builds, nap: str) -> None:
    with pytest.raises(TimedOutError, match="limit of 3 s"):
        in_layout.build(f"RUN {nap}", limits=Limits(timeout_s=3))


def test_a_step_that_fills_the_disk_meets_its_limit(in_layout: Builds) -> None:
    step = "RUN dd if=/dev/zero of=/large bs=1048576 count=64; sleep 20"
    with pytest.raises(LimitExceededError, match="disk"):
        in_layout.build(step, limits=Limits(disk_bytes=48 << 20))


def test_an_image_over_the_limit_is_refused_though_its_steps_were_quick(in_layout: Builds) -> None:
    step = "RUN dd if=/dev/zero of=/large bs=1048576 count=20"
    with pytest.raises(LimitExceededError, match="disk"):
        in_layout.build(step, limits=Limits(disk_bytes=18 << 20))


def test_a_step_that_prints_without_end_is_cut_short_by_time_alone(in_layout: Builds) -> None:
    with pytest.raises(TimedOutError):
        in_layout.build("RUN yes kitbag", limits=Limits(timeout_s=4))


class TestMemory:
    @pytest.fixture
    def builder(self) -> Builder:
        return Builder.CLASSIC

    def test_a_step_that_fills_memory_meets_its_limit(self, in_layout: Builds) -> None:
        # `tail` keeps a line that has no end.
        with pytest.raises(LimitExceededError, match="64 MiB"):
            in_layout.build("RUN tail -n 1 /dev/zero", limits=Limits(memory_bytes=64 << 20))


class TestProcesses:
    @pytest.fixture
    def builder(self) -> Builder:
        return Builder.CLASSIC

    def test_root_meets_the_limit_too_which_the_kernel_has_for_users_only(
        self, in_layout: Builds, nap: str
    ) -> None:
        # The step gets its limit while it runs, so it waits for that first.
        step = f"RUN sleep 5; n=0; while [ $n -lt 400 ]; do n=$((n+1)); {nap} & done; echo past"
        with pytest.raises(LimitExceededError, match="no more processes"):
            in_layout.build(step, limits=Limits(processes=100))


def test_an_engine_that_dies_is_told_from_a_step_that_fails(
    make_docker_engine: Callable[..., RigEngine],
    builder: Builder,
    layout: LayoutStore,
    tiny_tar: Path,
    tmp_path: Path,
    nap: str,
) -> None:
    rig = make_docker_engine()
    engine = DockerEngine(Address(rig.host), builder=builder, network="host")
    base = put_root(tiny_tar, layout, "bases/tiny", tmp_path)
    builds = Builds(engine, layout, base, tmp_path)
    builds.told.stop_at, builds.told.at = "now", rig.kill
    with pytest.raises(EngineUnreachableError):
        builds.build(f"RUN echo now; {nap}")
    # Started again it works as before, once what the dead one left is swept.
    rig.start()
    engine.sweep(lambda _: False)
    assert rig.docker("ps", "-aq").stdout == ""
    # Docker 20.10 that was killed with its containerd forgets the process of the step that ran.
    subprocess.run(["pkill", "-9", "-f", nap], check=False)
    builds.told.stop_at = None
    builds.build("RUN echo again")


def test_a_full_disk_of_the_engine_is_said_to_be_full(
    make_docker_engine: Callable[..., RigEngine],
    make_disk: Callable[[int], Path],
    builder: Builder,
    layout: LayoutStore,
    tiny_tar: Path,
    tmp_path: Path,
) -> None:
    rig = make_docker_engine(make_disk(64 << 20))
    engine = DockerEngine(Address(rig.host), builder=builder, network="host")
    base = put_root(tiny_tar, layout, "bases/tiny", tmp_path)
    builds = Builds(engine, layout, base, tmp_path)
    with pytest.raises(DiskFullError):
        builds.build("RUN dd if=/dev/zero of=/large bs=1048576 count=100")
    assert rig.docker("ps", "-aq").stdout == ""
    builds.build("RUN echo small")


_WORKER = """
import sys
from pathlib import Path
from builder.engines.address import Address
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.protocol import Job
from builder.model import Platform
from builder.stores.layout import LayoutStore

host, builder, context, image, layout = sys.argv[1:]
engine = DockerEngine(Address(host), builder=Builder(builder), network="host")
job = Job(id="killed", context=Path(context), repo="a/b", platform=Platform(), args={"BASE": image})
log = lambda line: print(line, flush=True)
engine.build(job, LayoutStore(Path(layout)), log=log, cancelled=lambda: False)
"""


def test_a_killed_workers_build_ends_with_it(
    in_layout: Builds,
    docker_engine: RigEngine,
    builder: Builder,
    temporary: Path,
    nap: str,
    leftovers: Leftovers,
) -> None:
    in_layout.build("RUN true")  # the engine has the base now
    (image,) = bases_of(in_layout)[:1]
    job = in_layout.job(f"RUN echo now; {nap}")
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, docker_engine.host, builder, str(job.context), image,
         str(in_layout.folder / "other")],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert worker.stdout is not None
    with worker.stdout as lines:
        for line in lines:
            if line.rstrip().endswith("now") and "echo" not in line:
                break
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    gone(nap)
    # The engine may be at it itself at this moment, and refuse; a worker sweeps again and again.
    deadline = time.monotonic() + 60
    while True:
        in_layout.engine.sweep(lambda build: build != "killed")
        if not leftovers():
            break
        assert time.monotonic() < deadline, leftovers()
        time.sleep(0.2)
    # Temporary folders of dead workers go with the worker's own sweep, by their prefix and age.
    for left in temporary.glob("kitbag-engine-*"):
        subprocess.run(["rm", "-r", str(left)], check=True)


def test_a_sweep_removes_what_the_dead_left_and_spares_the_living(
    in_layout: Builds, docker_engine: RigEngine, leftovers: Leftovers
) -> None:
    in_layout.build("RUN true")
    (base,) = bases_of(in_layout)[:1]
    for build in ("dead", "dead.wheel", "alive"):
        docker_engine.docker("tag", base, f"kitbag.dev/build:{build}")
        docker_engine.docker("create", f"--label=kitbag.dev/build={build}", base, "none")
        docker_engine.docker(
            "create", f"--add-host={build}.build.kitbag.invalid:127.0.0.1", base, "x"
        )
    docker_engine.docker("create", "--name=theirs", base, "none")
    assert in_layout.engine.sweep(lambda build: build == "alive") == 6
    assert len(leftovers()) == 4
    in_layout.engine.sweep(lambda build: False)
    assert docker_engine.docker("ps", "-a", "--format={{.Names}}").stdout == "theirs\n"
    docker_engine.docker("rm", "theirs")


def test_a_registry_that_refuses_the_image_is_no_fault_of_its_steps(
    in_registry: Builds, basic_registry: Registry
) -> None:
    in_registry.build("RUN true")  # the engine has the base now
    login = Fixed(Login(basic_registry.credentials.user, "wrong"))  # type: ignore[union-attr]
    in_registry.store = RegistryStore(basic_registry.host, prefix="envs", credentials=login)
    with pytest.raises(StoreRefusedError):
        in_registry.build("RUN true")
