"""The server's own image, built by a real engine on a Debian that needs no registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.docker import CA_BUNDLE, DockerEngine

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.rig, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image(docker_engine: DockerEngine, debian_root: Path) -> str:
    docker_engine.docker("import", str(debian_root), "debian-python:rig")
    docker_engine.docker(
        *("build", "--network=host", "--build-arg=BASE=debian-python:rig", "--progress=plain"),
        *(f"--secret=id=ca,src={CA_BUNDLE}", "--tag=kitbag-server:rig", str(ROOT)),
        env={"DOCKER_BUILDKIT": "1"},
        timeout_s=800,
    )
    return "kitbag-server:rig"


def python(engine: DockerEngine, image: str, code: str) -> str:
    """Run a line of Python in the image, with nothing of the host's; returns what it printed."""
    ran = engine.docker("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", code)
    return ran.stdout.strip()


def test_the_image_answers_as_both_commands(docker_engine: DockerEngine, image: str) -> None:
    assert "Usage: kitbag-server" in docker_engine.run(image, "--help").stdout
    client = docker_engine.run(image, "--help", options=["--entrypoint=kitbag"])
    assert "Usage: kitbag" in client.stdout


def test_the_image_runs_as_nobody_in_particular_and_may_write_only_its_data(
    docker_engine: DockerEngine, image: str
) -> None:
    code = (
        "import os; print(os.getuid(), os.getgid(), os.access('.', os.W_OK),"
        " os.access('/opt/kitbag', os.W_OK), os.getcwd())"
    )
    assert python(docker_engine, image, code) == "10001 10001 True False /var/lib/kitbag"


def test_the_image_holds_the_locked_packages_and_neither_tests_nor_the_secret(
    docker_engine: DockerEngine, image: str
) -> None:
    code = (
        "import importlib.util as u, pathlib, api, builder, catalog, kitbag, server, worker;"
        "print(u.find_spec('pytest'), pathlib.Path(api.__file__).parents[1],"
        " pathlib.Path('/run/secrets/ca').exists(), pathlib.Path('/src').exists())"
    )
    assert python(docker_engine, image, code) == (
        "None /opt/kitbag/lib/python3.11/site-packages False False"
    )


def test_the_image_is_small(docker_engine: DockerEngine, image: str) -> None:
    sizes = [
        int(docker_engine.docker("inspect", "--format={{.Size}}", name).stdout)
        for name in (image, "debian-python:rig")
    ]
    assert sizes[0] - sizes[1] < 450_000_000
