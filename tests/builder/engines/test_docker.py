"""A Docker Engine builds with either of its builders, into either kind of store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rig.docker import DockerEngine as RigEngine

from builder.engines.address import Address
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.protocol import Limit, Limits, Network
from builder.errors import (
    EngineBuildError,
    EngineNeededError,
    EngineUnreachableError,
    InvalidSpecError,
)

from .conftest import Builds, config_of

pytestmark = pytest.mark.rig
Leftovers = Callable[[], list[str]]


def test_an_image_is_pushed_and_its_digest_is_the_registrys(
    in_registry: Builds, docker_engine: RigEngine, leftovers: Leftovers
) -> None:
    image = in_registry.build("RUN echo made > /made", repo="hep/pushed", labels={"a": 'b"c'})
    found = in_registry.store.manifest("hep/pushed", image.digest)
    assert found is not None and image.digest == found.digest
    base = in_registry.base.layers[0]
    assert image.layers[0].descriptor.digest == base.descriptor.digest
    assert config_of(in_registry.store, "hep/pushed", image)["config"]["Labels"] == {"a": 'b"c'}  # type: ignore[index]
    assert leftovers() == []
    assert "open: s3same" not in in_registry.told.text


def test_an_image_goes_into_a_layout_with_the_bases_own_layers(
    in_layout: Builds, leftovers: Leftovers
) -> None:
    image = in_layout.build("RUN echo made > /made", "LABEL a=b")
    assert image.layers[0] == in_layout.base.layers[0]
    assert in_layout.store.missing("x", [each.descriptor.digest for each in image.layers]) == set()
    assert image.reference == f"127.0.0.1:1/hep/built@{image.digest}"
    assert leftovers() == []


def test_the_failing_step_is_named_with_its_status(in_layout: Builds, leftovers: Leftovers) -> None:
    with pytest.raises(EngineBuildError) as caught:
        in_layout.build("RUN echo going wrong; exit 7")
    assert caught.value.extra == {"step": "echo going wrong; exit 7", "status": 7}
    assert "going wrong" in in_layout.told.text
    assert leftovers() == []


def test_a_dockerfile_that_is_none_is_an_error_that_says_so(in_layout: Builds) -> None:
    with pytest.raises(EngineBuildError, match=r"(?i)unknown instruction"):
        in_layout.build("RUNN true")


def test_steps_reach_nothing_when_the_network_is_none(in_layout: Builds) -> None:
    in_layout.build(
        "RUN cat /proc/net/dev | tail -n +3 > /devices; cat /devices",
        limits=Limits(network=Network.NONE),
    )
    devices = [
        line for line in in_layout.told.lines if line.split("#")[-1].count(":") and " 0 " in line
    ]
    assert [line for line in devices if "lo:" not in line and "sit0" not in line] == []


def test_steps_see_nothing_of_the_workers_environment(
    in_layout: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITBAG_DATABASE_URL", "postgresql://u:hunter2secret@host/db")
    monkeypatch.setenv("HTTP_PROXY", "http://u:hunter2secret@127.0.0.1:9")
    in_layout.build("RUN env; ls -R /run 2>/dev/null; cat /proc/1/environ")
    assert "hunter2secret" not in in_layout.told.text


def test_a_build_can_not_start_from_what_only_the_operator_may_see(in_registry: Builds) -> None:
    job = in_registry.job("RUN true")
    private = in_registry.build("RUN echo private > /private", repo="other/private")
    in_registry.engine._api.remove_image(private.reference)
    (job.context / "Dockerfile").write_text(f"FROM {private.reference}\nRUN cat /private\n")
    with pytest.raises(EngineBuildError, match=r"(?i)unauthorized|authoriz|basic auth|401"):
        in_registry.run(job)


def test_a_dockerfile_outside_of_what_is_built_is_refused(in_layout: Builds) -> None:
    job = in_layout.job("RUN true")
    (job.context / "Dockerfile").unlink()
    (job.context / "Dockerfile").symlink_to("/etc/passwd")
    with pytest.raises(InvalidSpecError):
        in_layout.run(job)


def test_files_of_a_build_come_out_without_an_image(
    in_layout: Builds, tmp_path: Path, leftovers: Leftovers
) -> None:
    job = in_layout.job("RUN mkdir -p /out/deep && echo a > /out/a.whl && echo b > /out/deep/b")
    into = tmp_path / "files"
    into.mkdir()
    told = in_layout.told
    found = in_layout.engine.files(
        job, in_layout.store, into, log=told.log, cancelled=told.cancelled
    )
    assert [path.name for path in found] == ["a.whl"]
    assert (into / "a.whl").read_text() == "a\n"
    assert leftovers() == []


def test_a_cache_comes_back_from_the_registry(
    in_registry: Builds, docker_engine: RigEngine
) -> None:
    steps = "RUN cat /proc/sys/kernel/random/uuid > /uuid"
    first = in_registry.build(steps, cache_repo="cache/hep", repo="hep/cached")
    docker_engine.docker("builder", "prune", "--all", "--force")
    again = in_registry.build(steps, cache_repo="cache/hep", repo="hep/cached")
    assert again.layers == first.layers


class TestSecrets:
    @pytest.fixture
    def builder(self) -> Builder:
        return Builder.BUILDKIT

    def test_a_step_mounts_a_secret_that_no_log_or_image_shows(
        self, in_layout: Builds, tmp_path: Path
    ) -> None:
        secret = tmp_path / "token"
        secret.write_text("s3cr3t-token-of-mine\n")
        image = in_layout.build(
            "RUN --mount=type=secret,id=token cat /run/secrets/token && echo shown",
            secrets={"token": secret},
        )
        assert any(line.endswith("****") for line in in_layout.told.lines)
        assert "s3cr3t" not in in_layout.told.text
        assert "s3cr3t" not in str(config_of(in_layout.store, "hep/built", image))

    def test_a_limit_that_it_holds_no_build_to_is_refused(self, in_layout: Builds) -> None:
        with pytest.raises(EngineNeededError, match="no single build to a limit of memory"):
            in_layout.build("RUN true", limits=Limits(memory_bytes=64 << 20))


class TestClassic:
    @pytest.fixture
    def builder(self) -> Builder:
        return Builder.CLASSIC

    def test_secrets_are_refused_in_a_sentence(self, in_layout: Builds, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("s3cr3t")
        with pytest.raises(EngineNeededError, match="buildx"):
            in_layout.build("RUN true", secrets={"token": tmp_path / "token"})

    def test_it_holds_a_build_to_more_limits_than_buildkit(self, engine: DockerEngine) -> None:
        assert {Limit.CPU, Limit.MEMORY} <= engine.honours
        assert not engine.mounts


def test_an_engine_that_is_not_there_is_said_to_be_away(tmp_path: Path) -> None:
    engine = DockerEngine(Address(f"unix://{tmp_path}/none.sock"))
    with pytest.raises(EngineUnreachableError, match="does not answer"):
        _ = engine.name


@pytest.mark.parametrize("url", ["", "ssh://host", "unix://relative", "tcp://host", "/a/b"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidSpecError):
        Address(url)
