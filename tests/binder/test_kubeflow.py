"""An image as Kubeflow and OpenShift start it: under a prefix, home mounted over, any user."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.docker import DockerEngine
from rig.process import free_port

from catalog.models import Version

from .conftest import Workshop, repo

pytestmark = pytest.mark.rig


@pytest.fixture(scope="module")
def version(workshop: Workshop) -> Version:
    return workshop.build(repo("everything"), "kubeflow/repo")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty volume that any user may write, as a new claim is."""
    folder = tmp_path / "home"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def mounted(home: Path) -> list[str]:
    return [f"--volume={home}:/home/jovyan"]


def test_the_repository_appears_in_an_empty_home_and_what_is_changed_there_stays(
    workshop: Workshop, version: Version, home: Path
):
    (home / "lost+found").mkdir()
    workshop.run(version, "sh", "-c", "echo mine > ~/requirements.txt", options=mounted(home))
    assert (home / "notebooks/one.ipynb").is_file()
    said = workshop.run(version, "sh", "-c", "cat ~/requirements.txt", options=mounted(home))
    assert said.stdout == "mine\n"
    image = workshop.run(version, "cat", "/srv/repo/requirements.txt", options=mounted(home))
    assert image.stdout == "one==1.0\n"


def test_a_home_with_other_things_gets_a_link(workshop: Workshop, version: Version, home: Path):
    (home / "work.txt").write_text("mine")
    said = workshop.run(version, "sh", "-c", "ls ~; cat ~/repo/apt.txt", options=mounted(home))
    assert said.stdout.split("\n")[:2] == ["repo", "work.txt"]
    assert "hello" in said.stdout


def test_arguments_are_run_by_start_in_the_repository(workshop: Workshop, version: Version):
    said = workshop.run(version, "sh", "-c", "pwd; echo $FROM_START")
    assert said.stdout == "/srv/repo\nyes\n"


def test_a_user_that_the_image_does_not_know_may_work(workshop: Workshop, version: Version):
    script = (
        "id -u; touch new notebooks/new ~/new; python -c 'import one, getpass; getpass.getuser()'"
    )
    said = workshop.run(version, "sh", "-c", script, user="1000690000:0")
    assert said.stdout == "1000690000\n"


@contextmanager
def running(engine: DockerEngine, image: str, options: list[str]) -> Iterator[str]:
    name = engine.docker("run", "--detach", "--network=host", *options, image).stdout.strip()
    try:
        yield name
    finally:
        engine.docker("rm", "--force", name)


def answer(url: str, timeout_s: float = 90) -> bytes:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                data: bytes = response.read()
                return data
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


@pytest.mark.slow
def test_jupyter_answers_under_the_prefix_with_the_repository_in_its_home(
    make_workshop: Callable[..., Workshop], home: Path
):
    site = make_workshop(index_url=None, binder_packages=("jupyterlab",))
    files = {"requirements.txt": "", "start": '#!/bin/sh\nexec "$@"\n', "hello.txt": "hello"}
    version = site.build(files, "kubeflow/jupyter")
    assert any(package["name"] == "jupyterlab" for package in version.packages)
    port = free_port()
    prefix = "/notebook/alice/one"
    options = [f"--env=NB_PREFIX={prefix}", f"--env=NB_PORT={port}", *mounted(home)]
    assert site.engine is not None
    with running(site.engine, version.image, options) as name:
        try:
            found = json.loads(answer(f"http://127.0.0.1:{port}{prefix}/api/contents"))
        except OSError:
            raise AssertionError(site.engine.docker("logs", name).stderr) from None
    assert "hello.txt" in {entry["name"] for entry in found["content"]}
    ports = json.loads(site.engine.docker("inspect", version.image).stdout)[0]["Config"]
    assert list(ports["ExposedPorts"]) == ["8888/tcp"]


def test_the_entry_point_is_kept_and_no_command_is_set(workshop: Workshop, version: Version):
    assert workshop.engine is not None
    workshop.engine.docker("pull", version.image)
    told = workshop.engine.docker("inspect", version.image).stdout
    config = json.loads(told)[0]["Config"]
    assert config["Entrypoint"] == ["/opt/kitbag/binder"]
    assert not config["Cmd"]


def test_nothing_of_the_operators_network_is_in_the_history(workshop: Workshop, version: Version):
    assert workshop.engine is not None
    workshop.engine.docker("pull", version.image)
    told: subprocess.CompletedProcess[str] = workshop.engine.docker(
        "history", "--no-trunc", version.image
    )
    assert str(workshop.settings.index_url) not in told.stdout
