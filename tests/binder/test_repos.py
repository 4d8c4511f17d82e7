"""Real repositories become images, in which their own `verify` finds all as Binder has it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from builder.model import Base

from .conftest import Workshop, repo

pytestmark = pytest.mark.rig


@pytest.mark.parametrize(
    "name", ["everything", "pipfile-lock", "runtime-txt", "binder-folder", "dockerfile"]
)
def test_a_repository_is_built_and_verifies_itself(workshop: Workshop, base: Base, name: str):
    files = {path: text.replace("@BASE@", base.image) for path, text in repo(name).items()}
    version = workshop.build(files, f"repos/{name}")
    workshop.run(version, "sh", "verify")


@pytest.fixture(scope="module")
def pypi(make_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop whose packages, and what builds packages, come from PyPI."""
    return make_workshop(index_url=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["setup-py", "pyproject"])
def test_a_package_is_installed_as_pip_install_dot_does(pypi: Workshop, name: str):
    version = pypi.build(repo(name), f"repos/{name}")
    pypi.run(version, "sh", "verify")


def test_what_did_not_change_is_not_built_again(workshop: Workshop):
    files = repo("everything")
    first = workshop.build(files, "warm/repo")
    again = workshop.build(files, "warm/repo")
    assert again.digest == first.digest
    assert not any(line.startswith("#") for line in workshop.log(again.build_id))
    changed = workshop.build(files | {"requirements.txt": "one==2.0\n"}, "warm/repo")
    log = workshop.log(changed.build_id)
    assert "These were installed on this base before." in log
    assert any("postBuild" in line for line in log)
    below, above = ([layer["digest"] for layer in each.layers] for each in (first, changed))
    assert len(set(above) - set(below)) <= 4  # the package, the lock, the files, the postBuild
    code = "from importlib.metadata import version; print(version('one'))"
    assert workshop.run(changed, "python", "-c", code).stdout == "2.0\n"


def test_a_version_says_what_it_is_made_of(workshop: Workshop):
    version = workshop.build(repo("everything"), "facts/repo")
    assert [package["name"] for package in version.packages] == ["one", "pip"]
    assert {name for layer in version.layers for name in layer["packages"]} == {"one", "pip"}
    assert sum(layer["size_bytes"] for layer in version.layers) == version.size_bytes
    assert workshop.engine is not None
    workshop.engine.docker("pull", version.image)
    told = workshop.engine.docker("inspect", version.image).stdout
    config = json.loads(told)[0]["Config"]
    assert config["Labels"]["kitbag.dev/way"] == "binder"
    assert config["Labels"]["repo2docker.repo"] == "local"
    assert config["User"] == "1000:100"


def test_a_start_script_alone_needs_no_engine(make_workshop: Callable[..., Workshop]):
    files = {"requirements.txt": "one\n", "start": '#!/bin/sh\nexec "$@"\n'}
    made = make_workshop(without_engine=True).build(files)
    assert [package["name"] for package in made.packages] == ["one", "pip"]


def test_without_an_engine_the_sentence_says_which_file_needs_one(
    make_workshop: Callable[..., Workshop],
):
    lonely = make_workshop(without_engine=True, broker_url="redis://127.0.0.1:9/0")
    error = lonely.fails({"apt.txt": "hello\n"})
    assert error["type"] == "engine-needed"
    assert "apt.txt asks for system packages" in error["detail"]
