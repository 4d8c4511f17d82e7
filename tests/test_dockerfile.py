"""The server's own image, built by a real engine on a Debian that needs no registry."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from rig.docker import CA_BUNDLE, DockerEngine
from rig.git import GitServer
from rig.process import free_port

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
    size = int(docker_engine.docker("inspect", "--format={{.Size}}", image).stdout)
    assert size < 300_000_000


def test_the_image_fetches_sources_with_what_is_left_of_git(
    docker_engine: DockerEngine, image: str, git_server: GitServer
) -> None:
    url = git_server.repository("dockerfile", {"requirements.txt": "one"}).http_url
    options = ["--entrypoint=git"]
    docker_engine.run(image, "clone", "--depth=1", url, "/tmp/source", options=options)
    assert "OpenSSH" in docker_engine.run(image, "-V", options=["--entrypoint=ssh"]).stderr
    helpers = docker_engine.run(image, "--exec-path", options=options).stdout.strip()
    found = docker_engine.run(image, helpers, options=["--entrypoint=ls"]).stdout.split()
    assert {"git-remote-https", "git-submodule"} <= set(found)


def test_a_container_of_it_migrates_a_catalog_and_serves_it(
    docker_engine: DockerEngine, image: str
) -> None:
    port = free_port()
    volume, name = f"kitbag-{port}", f"kitbag-api-{port}"
    options = [
        *("--network=host", f"--volume={volume}:/var/lib/kitbag", "--read-only", "--tmpfs=/tmp"),
        "--env=KITBAG_DATABASE_URL=sqlite:////var/lib/kitbag/catalog.db",
        "--env=KITBAG_DATA=/var/lib/kitbag/data",
    ]
    try:
        docker_engine.docker("run", "--rm", *options, image, "migrate")
        began = time.monotonic()
        docker_engine.docker("run", "--detach", f"--name={name}", *options, image,
                             "api", "--port", str(port))  # fmt: skip
        while not healthy(port):
            log = docker_engine.docker("logs", name, check=False)
            assert time.monotonic() - began < 120, log.stdout + log.stderr
            time.sleep(0.05)
        print(f"healthy after {time.monotonic() - began:.1f} s")
    finally:
        docker_engine.docker("rm", "--force", name, check=False)
        docker_engine.docker("volume", "rm", "--force", volume, check=False)


def healthy(port: int) -> bool:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=5)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200
