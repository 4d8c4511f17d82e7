"""The sweep of a container engine: what nobody works on goes, what somebody does stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.docker import DockerEngine
from rig.root import tar_of, tiny_root

from catalog import runs
from catalog.engine import writing
from worker import containers, identity

from .conftest import Site

pytestmark = pytest.mark.rig
Make = Callable[..., Site]


def test_only_builds_that_nobody_works_on_are_swept(
    make_site: Make, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    site = make_site(engine="docker", engine_address=docker_engine.host, build_timeout_s=600)
    waiting, running = (site.ask("one") for _ in range(2))
    with writing(site.engine) as session:
        assert runs.claim(session, running, identity.me()) is not None
    old = f"aside-{int(time.time()) - 700}-0123456789abcdef"
    builds = [waiting, running, f"{waiting}.wheel", old, containers.aside_id(), "another-servers"]
    image = f"kitbag-test/{tmp_path.name.lower().strip('_')}:1"
    docker_engine.docker("import", str(tar_of(tiny_root(tmp_path / "root"), tmp_path / "t")), image)
    for build in builds:
        label = f"--label=kitbag.dev/build={build}"
        docker_engine.docker("create", f"--name=of-{build}", label, image, "none")
    assert containers.sweep(site.kit) == 3
    left = docker_engine.docker("ps", "-a", "--format={{.Names}}", "--filter=name=of-").stdout
    assert set(left.split()) == {f"of-{builds[index]}" for index in (1, 4, 5)}
    docker_engine.docker("rm", *left.split())
    docker_engine.docker("rmi", image)


def test_without_an_engine_there_is_nothing_to_sweep(site: Site) -> None:
    assert containers.sweep(site.kit) == 0


def test_an_engine_that_is_away_does_not_stop_the_sweep(make_site: Make, tmp_path: Path) -> None:
    site = make_site(engine="docker", engine_address=f"unix://{tmp_path}/none.sock")
    assert containers.sweep(site.kit) == 0
