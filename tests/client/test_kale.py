"""`kitbag kale`: notebooks of the kind that Kale's tutorials use."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitbag import PackError
from kitbag.kale import read, source

from .conftest import Run, Server


def notebook(*cells: tuple[list[str], str], **metadata: Any) -> str:
    """The text of a notebook; a cell is its tags and its code."""
    content = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": None,
                "metadata": {"tags": tags},
                "outputs": [],
                "source": code.splitlines(keepends=True),
            }
            for tags, code in cells
        ],
        "metadata": {"kernelspec": {"name": "python3"}, **metadata},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1)


CELLS = (
    (["skip"], "%pip install -q numpy==2.1.0 \\\n  'six'\n!ls\n"),
    (["imports"], "import math"),
    (["pipeline-parameters"], "count = 5"),
    (["step:simulate"], "showers = [math.sqrt(i) for i in range(count)]"),
    (["step:train", "prev:simulate"], "total = sum(showers)\nprint(total)"),
)
KALE = {
    "pipeline_name": "showers",
    "experiment_name": "gan",
    "pipeline_description": "",
    "base_image": "",
    "volumes": [],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "Showers.ipynb"
    file.write_text(notebook(*CELLS, kubeflow_notebook=KALE))
    return file


def metadata(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["metadata"]["kubeflow_notebook"]
    return found


def lines(path: Path) -> list[str]:
    found = source(read(path))
    assert found is not None
    return found[0].files["requirements.txt"].splitlines()


def test_pip_lines_become_the_environment_and_its_digest_the_base_image(
    kitbag: Run, server: Server, path: Path
) -> None:
    before = path.read_text()
    done = kitbag("kale", path, env=server.env)
    assert done.returncode == 0, done.stderr
    image = done.stdout.strip()
    assert "default/showers@sha256:" in image
    assert path.read_text() == before.replace('"base_image": ""', f'"base_image": "{image}"')
    with server.client() as client:
        packages = client.version("default/showers").packages_list
    assert {package.name for package in packages} == {"numpy", "six"}


def test_again_it_is_the_same_version_and_not_a_byte_changes(
    kitbag: Run, server: Server, path: Path
) -> None:
    first = kitbag("kale", path, "--name", "kale/again", env=server.env)
    pinned = path.read_bytes()
    again = kitbag("kale", path, "--name", "kale/again", "--json", env=server.env)
    told = json.loads(again.stdout)
    assert (told["image"], told["changed"]) == (first.stdout.strip(), False)
    assert path.read_bytes() == pinned


def test_a_reference_in_its_metadata_is_resolved_and_nothing_is_built(
    kitbag: Run, server: Server, path: Path
) -> None:
    made = kitbag("kale", path, "--name", "kale/known", env=server.env).stdout.strip()
    text = notebook(*CELLS, kubeflow_notebook=KALE | {"base_image": "kitbag://kale/known:1"})
    path.write_text(text)
    assert kitbag("kale", path, env=server.env).stdout.strip() == made
    assert path.read_text() == text.replace("kitbag://kale/known:1", made)


def test_older_notebooks_keep_docker_image_and_get_no_key_that_old_kale_refuses(
    kitbag: Run, server: Server, path: Path
) -> None:
    old = {"docker_image": "jupyter:v1", "pipeline_name": "p", "experiment_name": "e"}
    path.write_text(notebook(*CELLS, kubeflow_notebook=old))
    image = kitbag("kale", path, "--name", "kale/old", env=server.env).stdout.strip()
    assert metadata(path) == old | {"docker_image": image}


@pytest.mark.parametrize("there", [{}, {"kubeflow_notebook": {"pipeline_name": "p"}}])
def test_a_notebook_without_an_image_gets_the_key(
    kitbag: Run, server: Server, path: Path, there: dict[str, Any]
) -> None:
    path.write_text(notebook(*CELLS, **there))
    done = kitbag("kale", path, "--name", "kale/none", env=server.env)
    assert metadata(path) == {
        "base_image": done.stdout.strip(),
        **there.get("kubeflow_notebook", {}),
    }


def test_images_of_cells_are_pinned_too(kitbag: Run, server: Server, path: Path) -> None:
    cells = (*CELLS, (["step:more", "image:kitbag://kale/cell"], "x = 1"))
    path.write_text(notebook(*cells, kubeflow_notebook=KALE))
    image = kitbag("kale", path, "--name", "kale/cell", env=server.env).stdout.strip()
    assert json.loads(path.read_text())["cells"][-1]["metadata"]["tags"][1] == f"image:{image}"


def test_requirements_beside_it_come_first_and_lines_are_added(path: Path) -> None:
    (path.parent / "requirements.txt").write_text("scipy\nnumpy==2.1.0")
    assert lines(path) == ["scipy", "numpy==2.1.0", "six"]
    path.write_text(notebook(([], "!python3 -m pip install -r requirements.txt --upgrade")))
    assert lines(path) == ["scipy", "numpy==2.1.0"]


def test_indexes_of_pip_lines_are_the_builds(path: Path) -> None:
    code = "%pip install --index-url=https://one.example/simple six --extra-index-url https://two.example/s"
    path.write_text(notebook(([], code)))
    found = source(read(path))
    assert found is not None
    assert found[1].default_index == "https://one.example/simple"
    assert found[1].indexes == ("https://two.example/s",)


def test_imports_alone_are_no_packages(kitbag: Run, server: Server, path: Path) -> None:
    path.write_text(
        notebook(([], "import cv2\n# %pip install this-is-a-comment"), kubeflow_notebook=KALE)
    )
    done = kitbag("kale", path, env=server.env)
    assert done.returncode == 2
    assert "doesn't say which packages it needs" in done.stderr
    assert metadata(path)["base_image"] == ""
    (path.parent / "requirements").mkdir()
    made = kitbag("build", path.parent / "requirements", "--name", "kale/given", env=server.env)
    given = kitbag("kale", path, "--name", "kale/given", env=server.env)
    assert metadata(path)["base_image"] == given.stdout.strip() == made.stdout.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "lacks cells or metadata"),
        ('{"cells": [], "metadata": {"kubeflow_notebook": 3}}', "not what Kale writes"),
        (notebook(([], "%pip install 'a")), "can't be read"),
        (notebook(([], "%pip install -r other.txt")), "can be followed only there"),
        (notebook(([], "%pip install ./mine")), "found only there"),
    ],
)
def test_a_notebook_that_cannot_be_read_says_why(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(PackError, match=says):
        source(read(path))


def test_compiling_without_kale_says_what_brings_it(
    kitbag: Run, server: Server, path: Path
) -> None:
    env = {**server.env, "PATH": "/nowhere"}
    done = kitbag("kale", path, "--name", "kale/nokale", "--compile", env=env)
    assert "pip install kubeflow-kale" in done.stderr
    assert done.returncode == 2


@pytest.mark.wide
def test_kale_itself_compiles_the_pinned_notebook_to_steps_with_the_digest(
    kitbag: Run, server: Server, path: Path
) -> None:
    """`KITBAG_TEST_KALE` is the bin folder of an environment with kubeflow-kale 2.x."""
    folder = os.environ.get("KITBAG_TEST_KALE", "")
    if not shutil.which("kale", path=folder):
        pytest.skip("KITBAG_TEST_KALE names no folder with the kale command")
    env = {**server.env, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = kitbag("kale", path, "--compile", "--name", "kale/real", env=env)
    assert done.returncode == 0, done.stderr
    image, pipeline = done.stdout.split()
    spec = next(yaml.safe_load_all(Path(pipeline).read_text()))
    executors = spec["deploymentSpec"]["executors"].values()
    assert [body["container"]["image"] for body in executors] == [image, image]
    code = "from kale.common.utils import get_default_base_image_from_env as d; print(d())"
    default = subprocess.run(
        [Path(folder, "python"), "-c", code],
        env={"KALE_DEFAULT_BASE_IMAGE": image},
        capture_output=True,
        text=True,
        check=True,
    )
    assert default.stdout.strip() == image
