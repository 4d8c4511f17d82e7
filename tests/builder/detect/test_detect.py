"""Which way a source is built, by its files."""

from __future__ import annotations

import pytest

from builder.detect import Kind, detect
from builder.errors import (
    ConfigConflictError,
    InvalidSpecError,
    SourceNotFoundError,
    TooLargeError,
)
from builder.model import Way

CONDA = "dependencies:\n  - python=3.10\n  - numpy\n"
PIP_ONLY = "name: x\ndependencies:\n  - python=3.12.*\n  - pip\n  - pip:\n      - numpy\n"
PROJECT = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["a"]\n'
PYLOCK = 'lock-version = "1.0"\ncreated-by = "x"\nrequires-python = ">=3.11"\npackages = []\n'


@pytest.mark.parametrize(
    ("files", "kind", "used"),
    [
        ({"requirements.txt": "a"}, Kind.REQUIREMENTS, ("requirements.txt",)),
        ({"requirements.txt": "-r b/c.txt", "b/c.txt": "-r d.txt", "b/d.txt": "a"},
         Kind.REQUIREMENTS, ("requirements.txt", "b/c.txt", "b/d.txt")),
        ({"environment.yml": PIP_ONLY}, Kind.ENVIRONMENT, ("environment.yml",)),
        ({"pyproject.toml": PROJECT}, Kind.PYPROJECT, ("pyproject.toml",)),
        ({"pyproject.toml": PROJECT, "uv.lock": "version = 1"}, Kind.UV_LOCK,
         ("uv.lock", "pyproject.toml")),
        ({"pylock.toml": PYLOCK}, Kind.PYLOCK, ("pylock.toml",)),
        ({"Pipfile": '[packages]\na = "*"\n'}, Kind.PIPFILE, ("Pipfile",)),
        ({"Pipfile": "", "Pipfile.lock": '{"default": {"a": {"version": "==1"}}}'},
         Kind.PIPFILE_LOCK, ("Pipfile.lock", "Pipfile")),
        ({"environment.yaml": PIP_ONLY}, Kind.ENVIRONMENT, ("environment.yaml",)),
        ({"notebook.ipynb": "{}", "README.md": ""}, Kind.EMPTY, ()),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 9\n"}, Kind.EMPTY, ()),
    ],
)  # fmt: skip
def test_only_python_packages_make_a_layered_image(look, files, kind, used):
    detected = look(files)
    assert (detected.way, detected.kind, detected.files) == (Way.LAYERED, kind, used)
    assert detected.why.endswith(".")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"Dockerfile": "FROM x"}, "Dockerfile is a container build"),
        ({"Project.toml": ""}, "Project.toml asks for Julia"),
        ({"default.nix": ""}, "default.nix asks for Nix"),
        ({"install.R": ""}, "install.R asks for R"),
        ({"runtime.txt": "r-4.1-2022-01-01\n"}, "runtime.txt asks for R"),
        ({"DESCRIPTION": "Package: x\n"}, "DESCRIPTION asks for R"),
        ({"environment.yml": CONDA}, "environment.yml asks for conda packages (numpy)"),
        ({"environment.yml": "variables: {A: b}\n"}, "environment.yml sets variables"),
        ({"setup.py": "", "requirements.txt": "a"}, "setup.py must be run"),
        ({"apt.txt": "git", "requirements.txt": "a"}, "apt.txt asks for system packages"),
        ({"postBuild": "", "environment.yml": PIP_ONLY}, "postBuild runs code"),
        ({"pyproject.toml": "[tool.poetry]\nname='x'\n"}, "[tool.poetry]"),
        ({"pyproject.toml": "[build-system]\nrequires=['x']\n"}, "no [project] table"),
        ({"pyproject.toml": "[project]\nname='x'\ndynamic=['dependencies']\n"}, "are dynamic"),
        ({"requirements.txt": "a\n-e .\n"}, "requirements.txt, line 2: '.' has to be built"),
        ({"requirements.txt": "a @ git+https://h/r\n"}, "has to be built from source"),
        ({"requirements.txt": "./pkg\n"}, "'./pkg' has to be built"),
        ({"requirements.txt": "https://h/x-1.0.tar.gz\n"}, "has to be built from source"),
        ({"requirements.txt": "--no-binary numpy\nnumpy\n"}, "numpy (--no-binary)"),
        ({"requirements.txt": "--find-links ./wheels\nnumpy\n"}, "the folder './wheels'"),
    ],
)
def test_anything_else_needs_a_container_engine_and_says_why(look, files, says):
    detected = look(files)
    assert detected.way is Way.BINDER
    assert says in detected.why
    assert detected.why.startswith("A container engine is needed since ")
    assert detected.files
    assert all(name in files for name in detected.files)


def test_binders_order_decides_between_several(look):
    everything = {
        "Dockerfile": "",
        "Project.toml": "",
        "default.nix": "",
        "environment.yml": CONDA,
        "Pipfile": "",
        "setup.py": "",
        "requirements.txt": "a",
    }
    for expected in ("Dockerfile", "Project.toml", "default.nix", "environment.yml", "Pipfile"):
        assert expected in look(everything).why
        del everything[expected]
    assert "setup.py" in look(everything).why
    del everything["setup.py"]
    assert look(everything).kind is Kind.REQUIREMENTS


def test_a_lock_of_exact_packages_beats_what_it_was_made_from(look):
    files = {"requirements.txt": "a", "pyproject.toml": PROJECT, "uv.lock": "version = 1"}
    assert look(files).kind is Kind.UV_LOCK
    assert look(files | {"pylock.toml": PYLOCK}).kind is Kind.PYLOCK
    assert look(files | {"environment.yml": PIP_ONLY}).kind is Kind.ENVIRONMENT


@pytest.mark.parametrize("folder", ["binder", ".binder"])
def test_a_binder_folder_replaces_the_root(look, folder):
    files = {"Dockerfile": "", "setup.py": "", "apt.txt": "", f"{folder}/requirements.txt": "a"}
    detected = look(files)
    assert detected.way is Way.LAYERED
    assert detected.config_dir == folder
    assert detected.files == (f"{folder}/requirements.txt",)


def test_both_binder_folders_are_a_conflict(look):
    with pytest.raises(ConfigConflictError, match="keep one"):
        look({"binder/requirements.txt": "", ".binder/apt.txt": ""})


def test_a_subfolder_can_be_the_source(look):
    files = {"Dockerfile": "", "sub/dir/requirements.txt": "a\n", "binder/apt.txt": ""}
    detected = look(files, "sub/dir/")
    assert detected.kind is Kind.REQUIREMENTS
    assert detected.files == ("sub/dir/requirements.txt",)
    assert detected.subdir == "sub/dir"
    with pytest.raises(SourceNotFoundError, match="no folder 'sub/nope'"):
        look(files, "sub/nope")
    with pytest.raises(InvalidSpecError, match=r"leaves the folder"):
        look(files, "../..")


@pytest.mark.parametrize(
    ("files", "python", "requires"),
    [
        ({"runtime.txt": "python-3.12\n", "requirements.txt": ""}, "3.12", None),
        ({".python-version": "# mine\n3.11.4\n", "requirements.txt": ""}, "3.11.4", None),
        ({".python-version": "my-virtualenv\n", "requirements.txt": ""}, None, None),
        ({"runtime.txt": "python-3.12", ".python-version": "3.9", "requirements.txt": ""},
         "3.12", None),
        ({"environment.yml": PIP_ONLY, "runtime.txt": "python-3.9"}, "3.12", None),
        ({"environment.yml": "dependencies: ['python >=3.9,<3.12', pip]"}, None, ">=3.9,<3.12"),
        ({"environment.yml": "dependencies: ['conda-forge::python=3.10']"}, "3.10", None),
        ({"pyproject.toml": PROJECT}, None, ">=3.10"),
        ({"pylock.toml": PYLOCK}, None, ">=3.11"),
        ({"requirements.txt": ""}, None, None),
    ],
)  # fmt: skip
def test_the_python_that_is_asked_for_is_found(look, files, python, requires):
    detected = look(files)
    assert (detected.python, detected.requires_python) == (python, requires)


def test_the_file_that_pins_python_is_among_the_files(look):
    detected = look({"runtime.txt": "python-3.12", "requirements.txt": "a"})
    assert detected.files == ("requirements.txt", "runtime.txt")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"runtime.txt": "python-2.7", "requirements.txt": ""}, "'python-2.7'"),
        ({"environment.yml": "dependencies:\n - a\n -b: [\n"}, "environment.yml, line 3"),
        ({"environment.yml": "- a\n"}, "not a mapping"),
        ({"environment.yml": "dependencies: a\n"}, "not a list"),
        ({"environment.yml": "dependencies:\n- pip:\n  - 3\n"}, "environment.yml, line 3"),
        ({"environment.yml": "dependencies:\n- npm: [x]\n"}, "environment.yml, line 2"),
        ({"pyproject.toml": "[project\n"}, "'pyproject.toml' is not valid TOML"),
        ({"pyproject.toml": "project = 3\n"}, "pyproject.toml, line 1"),
        ({"pyproject.toml": PROJECT.replace('["a"]', '"a"')}, "pyproject.toml, line 5"),
        ({"pyproject.toml": PROJECT.replace(">=3.10", "three")}, "requires-python"),
        ({"requirements.txt": b"\xff\xfe\xfa"}, "not UTF-8"),
        ({"pixi.toml": ""}, "'pixi.toml' is not read"),
        ({"poetry.lock": ""}, "'poetry.lock' is not read"),
        ({"conda-lock.yml": ""}, "'conda-lock.yml' is not read"),
        ({"Pipfile.lock": "{"}, "'Pipfile.lock' is not JSON"),
    ],
)
def test_a_file_that_can_not_be_read_says_where(look, files, says):
    with pytest.raises(InvalidSpecError) as caught:
        look(files)
    assert says in caught.value.detail
    assert "\n" not in caught.value.detail
    assert caught.value.extra["file"] in files


def test_setuptools_own_requirement_files_are_read_for_dynamic_dependencies(look, read):
    files = {
        "pyproject.toml": '[project]\nname = "p"\ndynamic = ["dependencies"]\n'
        '[tool.setuptools.dynamic]\ndependencies = {file = ["my deps.txt"]}\n',
        "my deps.txt": "numpy\n",
    }
    assert look(files).kind is Kind.PYPROJECT
    assert look(files).files == ("pyproject.toml", "my deps.txt")
    assert [each.text for each in read(files).asked] == ["numpy"]


def test_a_link_out_of_the_source_is_not_followed(look, write, tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("numpy\n")
    root = write({"requirements.txt": "-r inner.txt\n"})
    (root / "inner.txt").symlink_to(outside)
    with pytest.raises(InvalidSpecError, match="not in the repository"):
        detect(root)
    (root / "requirements.txt").unlink()
    (root / "requirements.txt").symlink_to(outside)
    assert detect(root).kind is Kind.EMPTY
    root.rename(tmp_path / "moved")
    (tmp_path / "with-link").mkdir()
    (tmp_path / "with-link" / "sub").symlink_to(tmp_path / "moved")
    with pytest.raises(SourceNotFoundError):
        detect(tmp_path / "with-link", "sub")


def test_a_requirements_file_of_ten_megabytes_is_too_large(look):
    with pytest.raises(TooLargeError, match=r"'requirements\.txt' is larger than 1 MiB"):
        look({"requirements.txt": b"numpy\n" * (10 << 20 >> 3)})
