"""What repo2docker renders for us: with mirrors, without this machine's paths, and defused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from builder.binder import stock
from builder.binder.python import Plan, Repository
from builder.detect import detect
from builder.errors import InvalidSpecError
from builder.model import Base, Lock, Platform, PythonInfo

CONDA = "dependencies:\n  - python=3.11\n  - numpy\n"
BASE = Base("b", "r/b@sha256:0", "sha256:0", Platform(), (), PythonInfo("3.11.2", "/p"), (2, 36))


def rendered(folder: Path, files: dict[str, str], mirrors=()) -> tuple[str, str, Path]:
    """The buildpack, the Dockerfile, and the context."""
    root, context = folder / "source", folder / "context"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    context.mkdir()
    plan = Plan(Repository(root, detect(root)), Lock("3.11", Platform(), (), ""), BASE, BASE)
    name = stock.render(plan, BASE, context, mirrors)
    return name, (context / "Dockerfile").read_text(), context


@pytest.mark.parametrize(
    ("files", "buildpack"),
    [
        ({"environment.yml": CONDA}, "CondaBuildPack"),
        ({"binder/environment.yml": CONDA, "Dockerfile": "FROM x"}, "CondaBuildPack"),
        ({"default.nix": "{}"}, "NixBuildPack"),
    ],
)
def test_repo2docker_chooses_and_renders(tmp_path, files, buildpack):
    name, text, context = rendered(tmp_path, files)
    assert name == buildpack
    assert text.startswith("ARG BASE\nFROM ${BASE}\n")
    assert 'ENTRYPOINT ["/opt/kitbag/binder"]' in text
    assert all((context / "src" / file).is_file() for file in files)


def test_conda_comes_from_the_operators_mirrors_alone(tmp_path):
    mirrors = [
        ("https://conda.anaconda.org/", "https://art.corp.example/conda/"),
        ("https://anaconda.org/", "https://art.corp.example/anaconda/"),
    ]
    _, text, context = rendered(tmp_path, {"environment.yml": CONDA}, mirrors)
    scripts = list((context / "build_script_files").iterdir())
    everything = text + "".join(path.read_text() for path in scripts)
    assert "anaconda.org" not in everything
    script = next(path for path in scripts if path.name.endswith("install-base-env.bash"))
    assert "https://art.corp.example/anaconda/conda-forge/micromamba/" in script.read_text()
    assert "channel_alias: https://art.corp.example/conda/\n" in script.read_text()
    locks = [path for path in scripts if path.name.endswith(".lock")]
    urls = re.findall(r"^https://\S+", locks[0].read_text(), re.MULTILINE)
    assert urls and all(url.startswith("https://art.corp.example/conda/") for url in urls)


def test_the_same_repository_renders_the_same_whatever_the_machine(tmp_path):
    _, text, context = rendered(tmp_path, {"environment.yml": CONDA})
    assert "site-packages" not in text and str(tmp_path) not in text
    for path in (context / "build_script_files").iterdir():
        assert f"COPY --chown=1000:1000 build_script_files/{path.name} " in text


@pytest.mark.parametrize(
    "files",
    [
        {"apt.txt": "curl; touch /x\n"},
        {"runtime.txt": "r-4.1;touch /x-2024-01-01\n"},
        {"environment.yml": "dependencies: [numpy, 'python=3.99']\n"},
    ],
)
def test_what_would_reach_a_shell_is_refused(tmp_path, files):
    with pytest.raises(InvalidSpecError):
        rendered(tmp_path, {"environment.yml": CONDA} | files)


def test_a_plan_is_for_one_source(tmp_path):
    source = Repository(tmp_path, replace(detect(tmp_path), subdir="a/b"))
    assert source.inside("a/b/postBuild") == "postBuild"
