"""A notebook's environment from the public index, through API, Celery, PostgreSQL and Redis into
a CNCF registry, pulled and run by Docker Engine and by containerd."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.servers import NO_REGISTRY, Deployed, deployer
from rig.docker import DockerEngine
from rig.postgres import Postgres
from rig.proxy import Proxy, proxy
from rig.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.rig]

REQUIREMENTS = ("numpy>=2,<3", "jupyterlab>=4.2,<5")
NETWORK = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
NUMPY = "import numpy; print(numpy.array([2, 3]).prod())"
STARTS_S = 90


@dataclass(frozen=True)
class Site:
    """A deployment whose registry is behind a network that counts."""

    server: Deployed
    network: Proxy
    registry: Registry


@pytest.fixture(scope="module")
def site(
    new_folder: Callable[[], Path],
    debian_made: None,
    postgres: Postgres,
    registry: Registry,
    broker_url: Callable[[], str],
) -> Iterator[Site]:
    settings = {"KITBAG_BASE_IMAGE": NO_REGISTRY}
    with proxy(registry.port) as network, deployer(new_folder, settings) as deploy:
        server = deploy(
            store=f"registry://{network.host}/site",
            database_url=postgres.create_database(),
            broker_url=broker_url(),
        )
        yield Site(server, network, registry)


@pytest.fixture(scope="module")
def notebook(site: Site) -> dict[str, Any]:
    """The build of a notebook's environment."""
    return site.server.build("hep/notebook", *REQUIREMENTS)


@pytest.fixture(scope="module")
def image(notebook: dict[str, Any], docker_engine: DockerEngine) -> str:
    """Its image, pulled by Docker Engine."""
    reference: str = notebook["image"]
    docker_engine.docker("pull", reference)
    return reference


def test_the_image_is_in_the_registry_under_its_digest(
    site: Site, notebook: dict[str, Any], skopeo: str
) -> None:
    assert notebook["image"] == f"{site.network.host}/site/hep/notebook@{notebook['digest']}"
    assert notebook["digest"] in site.registry.blobs()
    inspected = subprocess.run(
        [skopeo, "inspect", "--tls-verify=false", f"docker://{notebook['image']}"],
        check=True,
        capture_output=True,
    )
    assert json.loads(inspected.stdout)["Labels"]["kitbag.dev/way"] == "layered"


def test_docker_runs_numpy_as_the_notebook_user(image: str, docker_engine: DockerEngine) -> None:
    assert docker_engine.run(image, "python", "-c", NUMPY).stdout == "6\n"
    assert docker_engine.run(image, "sh", "-c", "id -u; id -g; id -un").stdout.split() == [
        "1000",
        "100",
        "jovyan",
    ]


def test_jupyter_lab_says_its_version(image: str, docker_engine: DockerEngine) -> None:
    assert docker_engine.run(image, "jupyter", "lab", "--version").stdout.startswith("4.")


def test_pip_finds_the_environment_consistent(image: str, docker_engine: DockerEngine) -> None:
    checked = docker_engine.run(image, "python", "-m", "pip", "check")
    assert checked.stdout == "No broken requirements found.\n"


def test_the_user_installs_one_more_package(image: str, docker_engine: DockerEngine) -> None:
    assert docker_engine.run(image, "python", "-c", "import humanize", check=False).returncode == 1
    script = "pip install --quiet humanize && python -c 'import humanize; print(humanize.__file__)'"
    passed = [f"--env={name}" for name in NETWORK if name in os.environ]
    done = docker_engine.run(image, "sh", "-c", script, options=passed)
    assert done.stdout.startswith("/opt/env/lib/python3.11/site-packages/humanize/")


def test_the_modules_are_compiled_already(image: str, docker_engine: DockerEngine) -> None:
    script = "import numpy, jupyterlab; print(numpy.__cached__, jupyterlab.__cached__)"
    cached = docker_engine.run(image, "python", "-c", script).stdout.split()
    find = docker_engine.run(image, "ls", *cached, check=False)
    assert find.returncode == 0, find.stderr


def test_docker_history_says_what_each_layer_holds(image: str, docker_engine: DockerEngine) -> None:
    told = docker_engine.docker("history", "--no-trunc", "--format={{.CreatedBy}}", image)
    lines = told.stdout.splitlines()
    assert lines[0] == "kitbag: the lock"
    assert lines[-1] == "base auto"
    assert all(line.startswith(("kitbag: ", "base ")) for line in lines)
    assert any("numpy 2." in line for line in lines)


def test_without_arguments_it_serves_a_notebook_under_nb_prefix(
    image: str, docker_engine: DockerEngine
) -> None:
    prefix = "/notebook/hep/x"
    with running(docker_engine, image, f"--env=NB_PREFIX={prefix}") as ask:
        assert ask(f"{prefix}/api") == (200, f"{prefix}/api")
        assert ask(f"{prefix}/lab") == (200, f"{prefix}/lab")
        assert ask(f"{prefix}/api/contents")[0] == 200


def test_without_nb_prefix_it_demands_a_token(image: str, docker_engine: DockerEngine) -> None:
    with running(docker_engine, image, "--env=JUPYTER_TOKEN=s3cret") as ask:
        assert ask("/api")[0] == 200  # its version, for everyone
        assert ask("/api/contents")[0] == 403
        assert ask("/lab") == (200, "/login")
        assert ask("/api/contents?token=s3cret")[0] == 200


def test_containerd_pulls_and_runs_the_image(
    notebook: dict[str, Any], docker_engine: DockerEngine
) -> None:
    docker_engine.ctr("images", "pull", "--plain-http", notebook["image"])
    run = ("run", "--rm", "--net-host", notebook["image"])
    ran = docker_engine.ctr(*run, "numpy", "/opt/kitbag/start", "python", "-c", NUMPY)
    assert ran.stdout == "6\n"
    version = docker_engine.ctr(*run, "lab", "jupyter", "lab", "--version")
    assert version.stdout.startswith("4.")
    assert docker_engine.ctr(*run, "user", "id", "-u").stdout == "1000\n"


def test_another_environment_mounts_what_the_registry_has(
    site: Site, notebook: dict[str, Any]
) -> None:
    before = site.network.bytes_up
    other = site.server.build("bio/notebook", *REQUIREMENTS, "humanize")
    sent = site.network.bytes_up - before
    assert other["stats"]["layers_new"] == 1
    assert other["image"].startswith(f"{site.network.host}/site/bio/notebook@")
    # One package's layer, the lock, config and manifest, and requests of a few hundred bytes.
    assert other["stats"]["bytes_moved"] < 0.01 * notebook["stats"]["image_bytes"]
    assert sent < other["stats"]["bytes_moved"] + 3000 * (other["stats"]["layers_known"] + 20)


def test_the_same_lock_in_another_environment_moves_nothing_but_names(
    site: Site, notebook: dict[str, Any]
) -> None:
    before = site.registry.blobs().keys()
    twin = site.server.build("twin/notebook", *REQUIREMENTS)
    assert twin["digest"] == notebook["digest"]
    assert twin["stats"]["layers_new"] == 0
    assert site.registry.blobs().keys() == before


@contextmanager
def running(
    docker: DockerEngine, image: str, *options: str
) -> Iterator[Callable[[str], tuple[int, str]]]:
    """The image as a notebook server with a network of its own; a function that asks port 8888.

    It takes a path and returns the status and the path that the answer came from in the end.
    """
    container = docker.docker("run", "--detach", "--network=none", *options, image).stdout.strip()

    def ask(path: str) -> tuple[int, str]:
        done = docker.docker("exec", container, "python", "-c", ASK, path, check=False)
        if done.returncode:
            return 0, done.stderr
        status, url = done.stdout.split()
        return int(status), url.partition("8888")[2].partition("?")[0]

    try:
        deadline = time.monotonic() + STARTS_S
        while ask("/")[0] == 0:
            assert time.monotonic() < deadline, docker.docker("logs", container).stderr
            time.sleep(0.2)
        yield ask
    finally:
        docker.docker("rm", "--force", container)


ASK = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:8888" + sys.argv[1], timeout=30)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.url)
"""
