"""Real clients pull what an embedded server made, with no registry anywhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from e2e.servers import Embedded
from rig.docker import DockerEngine
from rig.wheels import WheelFactory

from builder.layers.group import bucket_of


@pytest.fixture(scope="module")
def image(embedded: Embedded) -> str:
    """An image of small wheels, by its digest."""
    reference: str = embedded.build("pull/me", "two")["image"]
    return reference


def test_skopeo_copies_the_image_whole(image: str, skopeo: str, tmp_path: Path) -> None:
    subprocess.run(
        [skopeo, "copy", "--src-tls-verify=false", f"docker://{image}", f"oci:{tmp_path}/out:x"],
        check=True,
        capture_output=True,
    )
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == image.partition("@")[2]


@pytest.mark.rig
def test_docker_pulls_and_runs_the_image(image: str, docker_engine: DockerEngine) -> None:
    docker_engine.docker("pull", image)
    assert docker_engine.run(image, "one").stdout == "one 2.0\n"


@pytest.mark.rig
def test_containerd_pulls_and_runs_the_image(image: str, docker_engine: DockerEngine) -> None:
    docker_engine.ctr("images", "pull", "--plain-http", image)
    ran = docker_engine.ctr("run", "--rm", "--net-host", image, "pulls", "/opt/kitbag/start", "one")
    assert ran.stdout == "one 2.0\n"


@pytest.mark.rig
def test_containerd_pulls_and_runs_zstandard_layers(
    embedded: Embedded, docker_engine: DockerEngine
) -> None:
    image = embedded.build("pull/packed", "two", compression="zstd")["image"]
    docker_engine.ctr("images", "pull", "--plain-http", image)
    ran = docker_engine.ctr("run", "--rm", "--net-host", image, "packs", "/opt/kitbag/start", "one")
    assert ran.stdout == "one 2.0\n"


@pytest.mark.rig
def test_docker_pulls_wheels_of_one_layer_that_bring_the_same_folders_and_files(
    embedded: Embedded, index: WheelFactory, docker_engine: DockerEngine
) -> None:
    # Docker Engine refuses a layer that has a path twice, be it a folder.
    first, second = two_of_one_bucket()
    for name in (first, second):
        index.wheel(name, files={f"{name}.py": "", "tests/__init__.py": "", f"tests/{name}.py": ""})
    image = embedded.build("pull/shared", first, second)["image"]
    docker_engine.docker("pull", image)
    script = f"import {first}, {second}, tests.{first}, tests.{second}; print('both')"
    assert docker_engine.run(image, "python", "-c", script).stdout == "both\n"


def two_of_one_bucket() -> tuple[str, str]:
    """Two names whose wheels, when small, are put into the same layer."""
    first = "share0"
    fitting = (f"share{number}" for number in range(1, 10_000))
    return first, next(name for name in fitting if bucket_of(name) == bucket_of(first))
