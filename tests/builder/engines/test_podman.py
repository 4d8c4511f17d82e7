"""podman builds by its service's socket, within limits, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig.podman import Podman
from rig.process import temp_dir

from builder.engines.address import Address
from builder.engines.open import EngineKind, open_engine
from builder.engines.podman import PodmanEngine
from builder.engines.protocol import Limit, Limits, Network
from builder.errors import (
    CancelledError,
    EngineBuildError,
    EngineUnreachableError,
    InvalidSpecError,
    LimitExceededError,
    StoreRefusedError,
    TimedOutError,
)
from builder.stores.credentials import Fixed, Login
from builder.stores.registry import RegistryStore

from .conftest import Builds, config_of, put_root

pytestmark = pytest.mark.rig


@pytest.fixture
def engine(podman_service: Podman) -> Iterator[PodmanEngine]:
    made = open_engine(EngineKind.PODMAN, podman_service.address, network="host")
    assert isinstance(made, PodmanEngine)
    yield made
    made.close()


@pytest.fixture
def nap() -> str:
    """A command that is still there much later, and that no other test runs."""
    return f"sleep {random.randrange(1000, 10_000_000)}"


@pytest.fixture(autouse=True)
def nothing_left(podman_service: Podman, nap: str) -> Iterator[None]:
    """Every test here ends with a service that holds bases alone, and none of its steps."""
    yield
    deadline = time.monotonic() + 60
    while left := leftovers(podman_service, nap):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def leftovers(service: Podman, nap: str) -> list[str]:
    images = service.podman("images", "--all", "--format={{.Repository}}:{{.Tag}}").split()
    found = [name for name in images if "/base" not in name and "/bases/" not in name]
    found += service.podman("ps", "--all", "--external", "--quiet").split()
    running = subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout
    return found + [line for line in running.splitlines() if nap in line]


def test_an_image_is_pushed_and_its_digest_is_the_registrys(in_registry: Builds) -> None:
    image = in_registry.build("RUN echo made > /made", repo="hep/podman", labels={"a": 'b"c'})
    found = in_registry.store.manifest("hep/podman", image.digest)
    assert found is not None and image.digest == found.digest
    labels = config_of(in_registry.store, "hep/podman", image)["config"]["Labels"]  # type: ignore[index]
    assert labels == {"a": 'b"c'}
    assert image.layers[0].diff_id == in_registry.base.layers[0].diff_id
    assert "open: s3same" not in in_registry.told.text


def test_an_image_goes_into_a_layout_with_the_bases_own_layers(in_layout: Builds) -> None:
    image = in_layout.build("RUN echo made > /made", keep_base=False)
    assert image.layers[0] == in_layout.base.layers[0]
    assert in_layout.store.missing("x", [each.descriptor.digest for each in image.layers]) == set()


def test_it_holds_a_build_to_every_limit(engine: PodmanEngine) -> None:
    assert engine.honours == frozenset(Limit)
    assert engine.mounts
    assert engine.name.startswith("podman ")


def test_the_failing_step_is_named_with_its_status(in_layout: Builds) -> None:
    with pytest.raises(EngineBuildError) as caught:
        in_layout.build("RUN echo going wrong; exit 7")
    assert caught.value.extra == {"step": "echo going wrong; exit 7", "status": 7}
    assert "going wrong" in in_layout.told.text


def test_steps_reach_nothing_when_the_network_is_none(in_layout: Builds) -> None:
    in_layout.build("RUN cat /proc/net/dev | tail -n +3", limits=Limits(network=Network.NONE))
    devices = [line.split(":")[0].strip() for line in in_layout.told.lines if " 0 " in line]
    assert set(devices) <= {"lo", "sit0"}


def test_a_step_that_fills_memory_meets_its_limit(in_layout: Builds) -> None:
    with pytest.raises(LimitExceededError, match="64 MiB"):
        in_layout.build("RUN tail -n 1 /dev/zero", limits=Limits(memory_bytes=64 << 20))


def test_a_step_that_fills_the_disk_meets_its_limit(in_layout: Builds, nap: str) -> None:
    step = f"RUN dd if=/dev/zero of=/large bs=1048576 count=64; {nap}"
    with pytest.raises(LimitExceededError, match="disk"):
        in_layout.build(step, limits=Limits(disk_bytes=48 << 20))


def test_a_step_that_forks_without_end_meets_its_limit(in_layout: Builds, nap: str) -> None:
    step = f"RUN n=0; while [ $n -lt 400 ]; do n=$((n+1)); {nap} & done; echo past"
    with pytest.raises(LimitExceededError, match="no more processes"):
        in_layout.build("USER 1000:100", step, limits=Limits(processes=100))


def test_a_step_that_never_ends_meets_its_time_limit(in_layout: Builds, nap: str) -> None:
    with pytest.raises(TimedOutError, match="limit of 4 s"):
        in_layout.build(f"RUN {nap}", limits=Limits(timeout_s=4))


def test_a_build_is_cancelled_in_the_middle_of_a_step(in_layout: Builds, nap: str) -> None:
    in_layout.told.stop_at = "now"
    with pytest.raises(CancelledError):
        in_layout.build(f"RUN echo now; {nap}")


def test_a_step_mounts_a_secret_that_no_log_or_image_shows(
    in_layout: Builds, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cr3t-token-of-mine\n")
    image = in_layout.build(
        "RUN --mount=type=secret,id=token cat /run/secrets/token && echo shown",
        secrets={"token": tmp_path / "token"},
    )
    assert "****" in in_layout.told.text
    assert "s3cr3t" not in in_layout.told.text
    assert "s3cr3t" not in str(config_of(in_layout.store, "hep/built", image))


def test_steps_see_nothing_of_the_workers_environment(
    in_layout: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITBAG_DATABASE_URL", "postgresql://u:hunter2secret@host/db")
    monkeypatch.setenv("HTTP_PROXY", "http://u:hunter2secret@127.0.0.1:9")
    in_layout.build("RUN env; cat /proc/1/environ")
    assert "hunter2secret" not in in_layout.told.text


def test_a_build_can_not_start_from_what_only_the_operator_may_see(in_registry: Builds) -> None:
    private = in_registry.build("RUN echo private > /private", repo="other/private")
    job = in_registry.job("RUN true")
    (job.context / "Dockerfile").write_text(f"FROM {private.reference}\nRUN cat /private\n")
    with pytest.raises((EngineBuildError, EngineUnreachableError)) as caught:
        in_registry.run(job)
    assert "/private" not in caught.value.detail or "cat" not in caught.value.detail


def test_a_registry_that_refuses_the_image_is_no_fault_of_its_steps(in_registry: Builds) -> None:
    in_registry.build("RUN true")
    store = in_registry.store
    assert isinstance(store, RegistryStore)
    login = Fixed(Login("alice", "wrong"))
    in_registry.store = RegistryStore(store.host, prefix="envs", credentials=login)
    with pytest.raises(StoreRefusedError):
        in_registry.build("RUN true")


def test_files_of_a_build_come_out_without_an_image(in_layout: Builds, tmp_path: Path) -> None:
    job = in_layout.job("RUN mkdir -p /out/deep && echo a > /out/a.whl && echo b > /out/deep/b")
    into = tmp_path / "files"
    into.mkdir()
    told = in_layout.told
    found = in_layout.engine.files(
        job, in_layout.store, into, log=told.log, cancelled=told.cancelled
    )
    assert [path.name for path in found] == ["a.whl"]


_WORKER = """
import sys
from pathlib import Path
from builder.engines.open import EngineKind, open_engine
from builder.engines.protocol import Job
from builder.model import Platform
from builder.stores.layout import LayoutStore

address, context, image, layout = sys.argv[1:]
engine = open_engine(EngineKind.PODMAN, address, network="host")
job = Job(id="killed", context=Path(context), repo="a/b", platform=Platform(), args={"BASE": image})
log = lambda line: print(line, flush=True)
engine.build(job, LayoutStore(Path(layout)), log=log, cancelled=lambda: False)
"""


def test_what_a_killed_workers_step_does_is_ended_by_the_sweep(
    in_layout: Builds, podman_service: Podman, nap: str
) -> None:
    in_layout.build("RUN true")  # the service has the base now
    (image,) = [name for name in in_layout.engine._api.tags() if "kitbag.dev/base:" in name][:1]
    job = in_layout.job(f"RUN echo now; {nap}")
    with temp_dir("faults") as temporary:
        worker = subprocess.Popen(
            [sys.executable, "-c", _WORKER, podman_service.address, str(job.context), image,
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
    assert any(nap in line for line in leftovers(podman_service, nap))
    assert in_layout.engine.sweep(lambda build: build == "killed") == 0
    assert in_layout.engine.sweep(lambda build: build != "killed") > 0


def test_a_service_that_dies_is_told_from_a_step_that_fails(
    make_podman: Callable[[], Podman], layout, tiny_tar: Path, tmp_path: Path, nap: str
) -> None:
    service = make_podman()
    engine = open_engine(EngineKind.PODMAN, service.address, network="host")
    builds = Builds(engine, layout, put_root(tiny_tar, layout, "bases/tiny", tmp_path), tmp_path)  # type: ignore[arg-type]
    builds.told.stop_at, builds.told.at = "now", service.kill
    with pytest.raises(EngineUnreachableError):
        builds.build(f"RUN echo now; {nap}")
    service.start()
    engine.sweep(lambda _: False)
    assert leftovers(service, nap) == []
    builds.told.stop_at = None
    builds.build("RUN echo again")


def test_an_address_that_is_another_machines_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="a socket of this machine"):
        PodmanEngine(Address("tcp://podman.example:8080"))
