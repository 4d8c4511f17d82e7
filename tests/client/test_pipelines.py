"""Environments from what a pipeline's steps install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from kitbag import KitbagError, PackError
from kitbag.pipelines import read
from kitbag.specs import Target, images, pin

from .conftest import Run, Server

MODULE = """\
import helper
from kfp import dsl

print("a module that talks")

@dsl.component(base_image="python:3.11-slim", packages_to_install=["numpy==2.1.0", "six"])
def train(rows: int) -> int:
    return rows

@dsl.component(packages_to_install=helper.MORE, base_image="python:3.11", install_kfp_package=False)
def report(rows: int) -> int:
    return rows

@dsl.component(base_image="alpine:3", install_kfp_package=False)
def unused() -> int:
    return 1

@dsl.pipeline(name="gan-3d")
def pipeline(rows: int = 1):
    report(rows=train(rows=rows).output)

if __name__ == "__main__":
    raise SystemExit("this part is not for importers")
"""

# As SDK 1.8 writes what `func_to_container_op(..., packages_to_install=…)` makes.
ARGO = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: gan-
  annotations: {pipelines.kubeflow.org/kfp_sdk_version: 1.8.22}
spec:
  entrypoint: gan
  templates:
  - name: gan
    dag:
      tasks:
      - {name: train, template: train}
  - name: train
    container:
      args: [--rows, '{{inputs.parameters.rows}}', '----output-paths', /tmp/outputs/Output/data]
      command:
      - sh
      - -c
      - (PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location
        'numpy==1.26.4' 'pandas>=2,<3; python_version<"4"' || PIP_DISABLE_PIP_VERSION_CHECK=1
        python3 -m pip install --quiet --no-warn-script-location 'numpy==1.26.4' 'pandas>=2,<3;
        python_version<"4"' --user) && "$0" "$@"
      - sh
      - -ec
      - |
        program_path=$(mktemp)
        printf "%s" "$0" > "$program_path"
        python3 -u "$program_path" "$@"
      - |
        def train(rows):
            print("pip install nothing-of-this")
      image: python:3.9
  - name: deploy
    container:
      command: [sh, -c, 'pip install --index-url https://one.example/simple six && deploy']
      image: registry.example.org/infra/python:3.9.18-slim
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A pipeline's file, which imports another beside it."""
    (tmp_path / "helper.py").write_text('MORE = ["Six", "requests[socks]>=2"]\n')
    path = tmp_path / "train.py"
    path.write_text(MODULE)
    return path


def written(path: Path, *components: object) -> Path:
    """A compiled pipeline with a task of each component."""

    @dsl.pipeline(name="p")
    def pipeline() -> None:
        for component in components:
            component()  # type: ignore[operator]

    compiler.Compiler().compile(pipeline, str(path))
    return path


def component(name: str, image: str, *packages: str, **options: object) -> object:
    def step() -> int:
        return 1

    step.__name__ = name
    return dsl.component(
        step,
        base_image=image,
        packages_to_install=list(packages),
        **{"install_kfp_package": False, **options},
    )


def requirements(path: Path) -> list[str]:
    return read(path).source.files["requirements.txt"].splitlines()


def test_a_python_file_is_imported_and_its_pipelines_steps_collected(module: Path) -> None:
    found = read(module, interpreter=sys.executable)
    lines = found.source.files["requirements.txt"].splitlines()
    kfp = next(line for line in lines if line.startswith("kfp=="))
    assert set(lines) >= {"numpy==2.1.0", "six", "Six", "requests[socks]>=2", kfp}
    assert (found.python, found.source.environment) == ("3.11", "default/gan-3d")
    assert found.notes == ()


def test_the_same_comes_of_what_the_file_compiles_to(module: Path, tmp_path: Path) -> None:
    path = tmp_path / "gan.yaml"
    code = (
        "import train; from kfp import compiler;"
        f"compiler.Compiler().compile(train.pipeline, {str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    assert read(path) == read(module, interpreter=sys.executable)


def test_sdk_1_8_compiled_to_argo_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "gan.yaml"
    path.write_text(ARGO)
    assert requirements(path) == ["numpy==1.26.4", 'pandas>=2,<3; python_version<"4"', "six"]
    found = read(path)
    assert (found.python, found.source.environment) == ("3.9", "default/gan")
    assert found.default_index == "https://one.example/simple"


def test_what_sdk_1_8_22_itself_compiled_is_read_and_pinned() -> None:
    """Two functions, of which one names an environment, and a ContainerOp. What the compiler notes
    of their sources, as text in annotations, stays."""
    path = Path(__file__).parent / "kfp-1.8.22.yaml"
    assert requirements(path) == ["numpy==1.26.4", "six"]
    assert (read(path).python, read(path).source.environment) == ("3.9", "default/gan")
    image = f"registry.example/hep/3dgan@sha256:{'a' * 64}"
    data = path.read_bytes()
    said = b"image: kitbag://hep/3dgan\n"
    assert pin(data, lambda _: image).data == data.replace(said, f"image: {image}\n".encode())
    pinned = pin(data, Target(image=image)).data
    found = {one.container: one.image for one in images(pinned)}
    assert found == dict.fromkeys(("add", "add-2", "report"), image)


def test_pins_that_contradict_each_other_are_refused_naming_both(tmp_path: Path) -> None:
    path = written(
        tmp_path / "p.yaml",
        component("first", "python:3.11", "numpy==2.1.0"),
        component("second", "python:3.11", "NumPy==1.26"),
    )
    with pytest.raises(PackError) as caught:
        read(path)
    assert "step first installs numpy==2.1.0" in str(caught.value)
    assert "step second installs NumPy==1.26" in str(caught.value)


def test_one_version_written_twice_is_no_contradiction(tmp_path: Path) -> None:
    path = written(
        tmp_path / "p.yaml",
        component("first", "python:3.11", "numpy==2.1"),
        component("second", "python:3.11", "numpy==2.1.0", "numpy>=2"),
    )
    assert requirements(path) == ["numpy==2.1", "numpy==2.1.0", "numpy>=2"]


def test_two_versions_of_python_are_refused_unless_one_is_asked_for(tmp_path: Path) -> None:
    path = written(
        tmp_path / "p.yaml",
        component("first", "python:3.11", "six"),
        component("second", "python:3.12-slim", "six"),
    )
    with pytest.raises(PackError, match=r"first runs on Python 3\.11 and step second .* 3\.12"):
        read(path)
    assert read(path, python="3.12").python == "3.12"


def test_indexes_of_the_steps_become_the_builds(tmp_path: Path) -> None:
    urls = ["https://one.example/simple", "https://two.example/simple"]
    path = written(
        tmp_path / "p.yaml", component("first", "python:3.11", "six", pip_index_urls=urls)
    )
    found = read(path)
    assert (found.default_index, found.indexes) == (urls[0], (urls[1],))
    assert requirements(path) == ["six"]


def test_an_image_whose_packages_nobody_knows_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "p.yaml", component("first", "tensorflow/tensorflow:2.15", "six"))
    (note,) = read(path).notes
    assert "tensorflow/tensorflow:2.15, whose own packages are not known" in note


@pytest.mark.parametrize("package", ["./mine", "/src/x.whl", "$PACKAGE", "a\nb"])
def test_what_only_a_pod_could_install_is_refused(tmp_path: Path, package: str) -> None:
    path = written(tmp_path / "p.yaml", component("first", "python:3.11", package))
    with pytest.raises(PackError, match="step first installs"):
        read(path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("p.py", "raise ValueError('mine')\n", "can't be imported .*ValueError: mine"),
        ("p.py", "x = 1\n", "no step that runs a container"),
        ("p.yaml", "{", "neither YAML nor JSON"),
        ("p.json", "[" * 200_000, "neither YAML nor JSON"),
        ("p.yaml", "kind: Pod\n", "no step that runs a container"),
        ("p.yaml", "spec: {templates: [{container: {image: x}}]}\n", "no step installs packages"),
        ("p.txt", "", "is no pipeline"),
    ],
)
def test_a_file_that_is_none_says_what_to_give(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(KitbagError, match=says):
        read(tmp_path / name, interpreter=sys.executable)


def test_a_python_without_kfp_says_so(module: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -I -S "$@"\n')  # type: ignore[attr-defined]
    bare.chmod(0o755)
    with pytest.raises(PackError, match="has no kfp"):
        read(module, interpreter=str(bare))


def test_the_command_builds_what_the_steps_install(
    kitbag: Run, server: Server, module: Path
) -> None:
    done = kitbag(
        "build", "--from-pipeline", module, "--interpreter", sys.executable, env=server.env
    )
    assert (done.returncode, done.stdout.count("default/gan-3d@sha256:")) == (0, 1), done.stderr
    with server.client() as client:
        version = client.version("default/gan-3d")
        request = server.request(str(version.build))
    assert {"numpy", "six"} <= {package.name for package in version.packages_list}
    assert request["python"] == "3.11"


def test_the_command_refuses_what_means_nothing(kitbag: Run, module: Path) -> None:
    assert kitbag("build", ".", "--interpreter", "python3").returncode == 2
    assert "takes no PATH" in kitbag("build", "x", "--from-pipeline", module).stderr


def test_a_steps_own_pip_has_nothing_to_do_where_the_packages_are_there(tmp_path: Path) -> None:
    """The compiled command still runs pip, which asks no index for what it finds installed."""
    step = component("first", "python:3.11", "pyyaml", "click>=8", install_kfp_package=True)
    path = written(tmp_path / "p.yaml", step)
    assert any(line.startswith("kfp==") for line in requirements(path))
    spec = next(yaml.safe_load_all(path.read_text()))
    shell, flag, script, *_ = spec["deploymentSpec"]["executors"]["exec-first"]["container"][
        "command"
    ]
    assert "pip install" in script
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "0",
    }
    ran = subprocess.run(
        [shell, flag, script, "echo", "the step"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "the step\n"), ran.stderr
