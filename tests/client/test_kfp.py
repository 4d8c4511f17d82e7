"""`kitbag.kfp`: components that name environments, and pipelines that the real compiler wrote."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl

from kitbag import Files, KitbagError, UnreachableError
from kitbag import kfp as kitbag_kfp
from kitbag.kfp import Environments, compile, image  # noqa: A004 - as kfp's users have it

from .conftest import Server

NAME = "kfp/gan"


@pytest.fixture(scope="module")
def ref(server: Server) -> str:
    """The image of NAME's first version."""
    with server.client() as client:
        build = client.build(Files({"requirements.txt": "six\n"}), name=NAME)
        found = client.wait(build).image
    assert found
    return found


@pytest.fixture(autouse=True)
def process(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environments]:
    """A process that has asked for nothing yet, with the server of the tests."""
    with server.client() as client:
        fresh = Environments(client)
        monkeypatch.setattr(kitbag_kfp, "_process", fresh)
        yield fresh


def pipeline_of(base_image: str, *more: str) -> Any:
    """A pipeline with a step of each of these images."""

    @dsl.component(base_image=base_image, install_kfp_package=False)
    def train(rows: int) -> int:
        return rows

    @dsl.container_component
    def report() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=(more or ("",))[0], command=["true"])

    @dsl.pipeline(name="gan")
    def pipeline(rows: int = 1) -> None:
        train(rows=rows)
        if more:
            report()

    return pipeline


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def images(document: dict[str, Any]) -> dict[str, str]:
    executors = document["deploymentSpec"]["executors"]
    return {name: body["container"]["image"] for name, body in executors.items()}


def test_a_component_gets_the_environments_digest(ref: str) -> None:
    assert image(NAME) == ref
    assert image(f"{NAME}:1") == ref


def test_an_environment_is_asked_for_once_in_a_process(
    ref: str, process: Environments, server: Server
) -> None:
    image(NAME)
    client = server.client()
    client.close()  # whoever asked it again would fail
    process._client = client
    assert image(NAME) == ref
    assert image(f"kitbag://{NAME}") == ref
    with pytest.raises(RuntimeError):
        image("kfp/another")


def test_an_environment_that_is_not_there_says_so() -> None:
    with pytest.raises(KitbagError, match="kfp/nothing"):
        image("kfp/nothing")


def test_a_name_that_is_none_says_what_to_write() -> None:
    with pytest.raises(KitbagError, match="NAMESPACE/NAME"):
        image("gan")


def test_a_server_that_is_away_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kitbag_kfp, "_process", Environments())
    monkeypatch.setenv("KITBAG_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        image(NAME)


def test_an_accelerator_that_a_version_lacks_is_refused(ref: str) -> None:
    assert image(NAME, accelerator="cpu") == ref
    with pytest.raises(KitbagError, match="no image for cuda, only cpu"):
        image(NAME, accelerator="cuda")


def test_offline_the_reference_is_left_for_kitbag_pin(
    monkeypatch: pytest.MonkeyPatch, process: Environments, tmp_path: Path
) -> None:
    monkeypatch.setenv("KITBAG_OFFLINE", "1")
    assert image("kfp/nothing:3") == "kitbag://kfp/nothing:3"
    path = tmp_path / "p.yaml"
    assert "KITBAG_OFFLINE" in compile(pipeline_of(image("kfp/nothing")), path).notes[0]
    assert images(documents(path)[0]) == {"exec-train": "kitbag://kfp/nothing"}


def test_a_compiled_pipeline_has_its_references_pinned_and_the_rest_as_it_was(
    ref: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    compile(pipeline_of(image(NAME), f"kitbag://{NAME}:1"), path, trace=False)
    (only,) = documents(path)
    assert images(only) == {"exec-train": ref, "exec-report": ref}
    compile(pipeline_of("python:3.11", "alpine:3"), path)
    (other,) = documents(path)
    assert images(other) == {"exec-train": "python:3.11", "exec-report": "alpine:3"}


RUNS_LOCALLY = """
import sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
print("came to", components.load_component_from_file(sys.argv[1])(rows=21).output)
"""


def test_a_compiled_pipeline_is_run_by_kfps_own_local_runner(ref: str, tmp_path: Path) -> None:
    """Its steps' commands run as they are written, as processes here; images are not pulled."""

    @dsl.component(base_image=image(NAME), install_kfp_package=False)
    def train(rows: int) -> int:
        return rows * 2

    @dsl.component(base_image=f"kitbag://{NAME}", install_kfp_package=False)
    def report(events: int) -> str:
        return f"{events} events"

    @dsl.pipeline(name="gan")
    def pipeline(rows: int = 1) -> str:
        return report(events=train(rows=rows).output).output  # type: ignore[no-any-return]

    path = tmp_path / "p.yaml"
    compile(pipeline, path, pull_secrets=["regcred"])
    assert set(images(documents(path)[0]).values()) == {ref}
    command = [sys.executable, "-c", RUNS_LOCALLY, str(path), str(tmp_path / "out")]
    here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # its steps call python3
    done = subprocess.run(
        command, env=os.environ | {"PATH": here}, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["came to 42 events"], done.stderr[-2000:]


def test_an_environment_for_the_whole_pipeline_leaves_steps_that_name_another(
    ref: str, server: Server, tmp_path: Path
) -> None:
    with server.client() as client:
        build = client.build(Files({"requirements.txt": "numpy\n"}), name="kfp/other")
        other = client.wait(build).image
    path = tmp_path / "p.yaml"
    compile(pipeline_of(image("kfp/other"), "python:3.11"), path, env=NAME)
    assert images(documents(path)[0]) == {"exec-train": other, "exec-report": ref}


def test_the_pods_of_a_run_say_which_version_and_lock_they_have(
    ref: str, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    compile(pipeline_of(image(NAME), "alpine:3"), path, pull_secrets=["regcred"])
    _, platform = documents(path)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    with server.client() as client:
        lock = client.version(NAME).lock
    digest = hashlib.sha256(lock.encode()).hexdigest()
    assert executors == {
        "exec-train": {
            "imagePullSecret": [
                {
                    "secretName": "regcred",
                    "secretNameParameter": {"runtimeValue": {"constant": "regcred"}},
                }
            ],
            "podMetadata": {
                "annotations": {
                    "kitbag.dev/version": f"{NAME}:1",
                    "kitbag.dev/lock": f"sha256:{digest}",
                }
            },
        }
    }


def test_what_kfps_own_protobuf_reads_is_what_was_written(ref: str, tmp_path: Path) -> None:
    """KFP's API server reads both documents with these messages and refuses unknown members."""
    from google.protobuf import json_format
    from kfp import kubernetes
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    @dsl.component(base_image=image(NAME), install_kfp_package=False)
    def train() -> int:
        return 1

    @dsl.pipeline(name="gan")
    def pipeline() -> None:
        task = train()
        kubernetes.add_pod_annotation(task, "team", "hep")
        kubernetes.set_image_pull_secrets(task, ["mine"])

    path = tmp_path / "p.yaml"
    compile(pipeline, path, pull_secrets=["regcred"])
    spec, platform = documents(path)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    (found,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    config = json_format.ParseDict(found, kubernetes_executor_config_pb2.KubernetesExecutorConfig())
    said = dict(config.pod_metadata.annotations)
    assert said.pop("kitbag.dev/lock").startswith("sha256:")
    assert said == {"team": "hep", "kitbag.dev/version": f"{NAME}:1"}
    assert {one.secret_name for one in config.image_pull_secret} == {"regcred", "mine"}


@pytest.fixture(scope="module")
def several(server: Server) -> str:
    """An environment whose version has an image for cpu, the default, and one for cuda."""
    name = "kfp/several"
    with server.client() as client:
        source = Files({"requirements.txt": "six\n"})
        client.wait(client.build(source, name=name, accelerators=["cpu", "cuda"]))
    return name


def test_a_step_gets_the_image_for_its_accelerator(
    several: str, server: Server, tmp_path: Path
) -> None:
    @dsl.component(base_image=image(several), install_kfp_package=False)
    def prepare() -> int:
        return 1

    @dsl.component(base_image=image(several), install_kfp_package=False)
    def train() -> int:
        return 1

    @dsl.pipeline(name="gan")
    def pipeline() -> None:
        prepare()
        train().set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)

    path = tmp_path / "p.yaml"
    compile(pipeline, path)
    spec, platform = documents(path)
    with server.client() as client:
        by = client.resolve(several).images
        cuda = client.version(several, accelerator="cuda").lock
    assert by["cpu"] != by["cuda"]
    assert images(spec) == {"exec-prepare": by["cpu"], "exec-train": by["cuda"]}
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    said = executors["exec-train"]["podMetadata"]["annotations"]["kitbag.dev/lock"]
    assert said == f"sha256:{hashlib.sha256(cuda.encode()).hexdigest()}"


def test_an_accelerator_that_is_named_wins_over_the_steps_resources(
    several: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.yaml"
    compile(pipeline_of(image(several, accelerator="cuda")), path, trace=False)
    assert images(documents(path)[0]) == {"exec-train": image(several, accelerator="cuda")}
    assert image(several, accelerator="cuda") != image(several)
