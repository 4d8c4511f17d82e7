"""A BuildKit daemon of its own, as on Kubernetes, builds into either kind of store."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from rig.buildkit import BuildKit
from rig.registry import Registry

from builder.engines.address import Address
from builder.engines.buildkit import BuildKitEngine
from builder.engines.protocol import Limits, Network
from builder.errors import CancelledError, EngineBuildError, EngineUnreachableError, TimedOutError
from builder.stores.credentials import Fixed, Login
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore

from .conftest import Builds, config_of, put_root

pytestmark = [pytest.mark.rig, pytest.mark.wide]


@pytest.fixture
def engine(
    buildkit_daemon: BuildKit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> BuildKitEngine:
    monkeypatch.setenv("PATH", f"{buildkit_daemon.programs}:{os.environ['PATH']}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return BuildKitEngine(Address(buildkit_daemon.address), scratch=scratch)


@pytest.fixture
def in_layout(engine: BuildKitEngine, tiny_tar: Path, tmp_path: Path) -> Builds:
    store = LayoutStore(tmp_path / "layout", host="127.0.0.1:1")
    return Builds(engine, store, put_root(tiny_tar, store, "bases/tiny", tmp_path), tmp_path)


@pytest.fixture
def in_registry(
    engine: BuildKitEngine, basic_registry: Registry, tiny_tar: Path, tmp_path: Path
) -> Builds:
    known = basic_registry.credentials
    assert known is not None
    login = Fixed(Login(known.user, known.password))
    store = RegistryStore(basic_registry.host, prefix="buildkit", credentials=login)
    return Builds(engine, store, put_root(tiny_tar, store, "bases/tiny", tmp_path), tmp_path)


def test_an_image_is_pushed_and_its_digest_is_the_registrys(in_registry: Builds) -> None:
    image = in_registry.build("RUN echo made > /made", repo="hep/pushed", labels={"a": 'b"c'})
    found = in_registry.store.manifest("hep/pushed", f"sha256-{image.digest[7:23]}")
    assert found is not None
    assert found.digest == image.digest
    assert image.layers[0] == in_registry.base.layers[0]
    assert config_of(in_registry.store, "hep/pushed", image)["config"]["Labels"] == {"a": 'b"c'}
    assert "open: s3same" not in in_registry.told.text


def test_an_image_goes_into_a_layout_with_the_bases_own_layers(in_layout: Builds) -> None:
    image = in_layout.build("RUN echo made > /made")
    assert image.layers[0] == in_layout.base.layers[0]
    assert in_layout.store.missing("x", [each.descriptor.digest for each in image.layers]) == set()


def test_a_build_can_not_start_from_what_only_the_operator_may_see(in_registry: Builds) -> None:
    private = in_registry.build("RUN echo private > /private", repo="other/private")
    job = in_registry.job("RUN true")
    (job.context / "Dockerfile").write_text(f"FROM {private.reference}\nRUN cat /private\n")
    with pytest.raises(EngineBuildError, match=r"(?i)unauthorized|authorization|401"):
        in_registry.run(job)


def test_the_failing_step_is_named_with_its_status(in_layout: Builds) -> None:
    with pytest.raises(EngineBuildError) as caught:
        in_layout.build("RUN echo going wrong; exit 7")
    assert caught.value.extra == {"step": "echo going wrong; exit 7", "status": 7}


def test_steps_reach_nothing_when_the_network_is_none(in_layout: Builds) -> None:
    in_layout.build(
        "RUN echo routes: $(tail -n +2 /proc/net/route | cat) end",
        limits=Limits(network=Network.NONE),
    )
    assert any(line.endswith("routes: end") for line in in_layout.told.lines)


def test_a_secret_is_mounted_and_never_shown(in_layout: Builds, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-token-of-mine\n")
    in_layout.build(
        "RUN --mount=type=secret,id=token cat /run/secrets/token",
        secrets={"token": tmp_path / "token"},
    )
    assert any(line.endswith("****") for line in in_layout.told.lines)
    assert "s3cr3t" not in in_layout.told.text


def test_files_of_a_build_come_out_without_an_image(in_layout: Builds, tmp_path: Path) -> None:
    job = in_layout.job("RUN mkdir -p /out/deep && echo a > /out/a.whl && echo b > /out/deep/b")
    into = tmp_path / "files"
    into.mkdir()
    told = in_layout.told
    found = in_layout.engine.files(
        job, in_layout.store, into, log=told.log, cancelled=told.cancelled
    )
    assert [path.name for path in found] == ["a.whl"]
    assert (into / "a.whl").read_text() == "a\n"


def test_a_build_is_cancelled_or_meets_its_time_limit(in_layout: Builds, tmp_path: Path) -> None:
    began: list[float] = []

    def stop() -> None:
        began.append(time.monotonic())
        in_layout.told.stopped = True

    in_layout.told.stop_at, in_layout.told.at = "now", stop
    with pytest.raises(CancelledError):
        in_layout.build("RUN echo now; sleep 1000")
    assert time.monotonic() - began[0] < 10
    in_layout.told.stopped, in_layout.told.stop_at = False, None
    with pytest.raises(TimedOutError):
        in_layout.build("RUN sleep 1001", limits=Limits(timeout_s=3))
    assert list((tmp_path / "scratch").glob("kitbag-engine-*")) == []


def test_a_daemon_that_is_away_is_said_to_be(
    buildkit_daemon: BuildKit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{buildkit_daemon.programs}:{os.environ['PATH']}")
    with pytest.raises(EngineUnreachableError, match="does not answer"):
        _ = BuildKitEngine(Address(f"unix://{tmp_path}/none.sock")).name


def test_it_is_reached_over_tls_by_who_has_a_certificate(
    in_layout: Builds, buildkit_daemon: BuildKit, tmp_path: Path
) -> None:
    daemon = buildkit_daemon
    in_layout.engine = BuildKitEngine(Address(daemon.tls_address, daemon.certs))
    in_layout.build("RUN echo over TLS")
    with pytest.raises(EngineUnreachableError):
        _ = BuildKitEngine(Address(daemon.tls_address)).name


def test_a_daemon_that_dies_is_told_from_a_step_that_fails(
    in_layout: Builds, buildkit_daemon: BuildKit
) -> None:
    nap = f"sleep {random.randrange(1000, 10_000_000)}"
    in_layout.told.stop_at, in_layout.told.at = "now", buildkit_daemon.daemon.kill
    with pytest.raises(EngineUnreachableError):
        in_layout.build(f"RUN echo now; {nap}")
    # What runc started goes on by itself.
    subprocess.run(["pkill", "-9", "-f", nap], check=False)
    buildkit_daemon.daemon.start()
    in_layout.told.stop_at = None
    in_layout.build("RUN echo again")


def test_it_has_a_name(engine: BuildKitEngine) -> None:
    assert engine.name.startswith("buildkit v0.")
