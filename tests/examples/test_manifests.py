from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

KINDS = {
    "notebook.yaml": ["PersistentVolumeClaim", "Notebook"],
    "tfjob.yaml": ["TFJob"],
    "katib.yaml": ["Experiment"],
    "inferenceservice.yaml": ["InferenceService"],
}
CLONE = "alpine/git:v2.47.2"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(path.read_text()))


def pods(node: object) -> Iterator[dict[str, Any]]:
    """Yield everything in a document that has containers."""
    if isinstance(node, dict):
        if "containers" in node:
            yield node
        for child in node.values():
            yield from pods(child)
    elif isinstance(node, list):
        for child in node:
            yield from pods(child)


def containers(example: Path) -> list[dict[str, Any]]:
    return [
        container
        for name in KINDS
        for document in documents(example / "k8s" / name)
        for pod in pods(document)
        for container in pod["containers"]
    ]


def test_each_file_holds_the_kinds_it_is_named_after(example: Path) -> None:
    found = {
        path.name: [document["kind"] for document in documents(path)]
        for path in (example / "k8s").iterdir()
    }
    assert found == KINDS


def test_user_containers_have_the_names_their_controllers_look_for(example: Path) -> None:
    names = [container["name"] for container in containers(example)]
    assert names == ["gan3d", "tensorflow", "tensorflow", "training-container", "kserve-container"]
    (experiment,) = documents(example / "k8s" / "katib.yaml")
    assert experiment["spec"]["trialTemplate"]["primaryContainerName"] == "training-container"
    *_, notebook = documents(example / "k8s" / "notebook.yaml")
    assert notebook["metadata"]["name"] == "gan3d"


def test_images_are_what_people_have_before_kitbag_and_one_is_a_reference(example: Path) -> None:
    images = [container["image"] for container in containers(example)]
    assert all("@sha256:" not in image for image in images)
    assert images.count("kitbag://hep/3dgan") == 1


def test_code_arrives_by_an_init_container_that_keeps_its_own_image(example: Path) -> None:
    inits = [
        container["image"]
        for name in KINDS
        for document in documents(example / "k8s" / name)
        for pod in pods(document)
        for container in pod.get("initContainers", [])
    ]
    assert inits == [CLONE] * 4


def test_the_job_is_sixteen_processes_of_eight_gpus(example: Path) -> None:
    (job,) = documents(example / "k8s" / "tfjob.yaml")
    replicas = job["spec"]["tfReplicaSpecs"]
    assert list(replicas) == ["Chief", "Worker"]
    gpus = [
        replica["replicas"] * container["resources"]["limits"]["nvidia.com/gpu"]
        for replica in replicas.values()
        for container in replica["template"]["spec"]["containers"]
    ]
    assert gpus == [8, 120]


def test_every_volume_that_is_mounted_exists(example: Path) -> None:
    for name in KINDS:
        for document in documents(example / "k8s" / name):
            for pod in pods(document):
                volumes = {volume["name"] for volume in pod["volumes"]}
                for container in pod["containers"] + pod.get("initContainers", []):
                    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_the_search_uses_each_parameter_it_draws(example: Path) -> None:
    (experiment,) = documents(example / "k8s" / "katib.yaml")
    spec = experiment["spec"]
    drawn = {parameter["name"] for parameter in spec["parameters"]}
    template = spec["trialTemplate"]
    assert {parameter["reference"] for parameter in template["trialParameters"]} == drawn
    for parameter in template["trialParameters"]:
        assert f"${{trialParameters.{parameter['name']}}}" in str(template["trialSpec"])


@pytest.mark.slow
def test_every_training_command_runs_as_written(science, example: Path, tmp_path: Path) -> None:
    """As written, but shrunk: argparse takes the last value of an option given twice."""
    small = ["--showers=100", "--epochs=1", "--grid=8", "--batch=16"]
    drawn = {"${trialParameters.learningRate}": "0.001", "${trialParameters.latentSize}": "8"}
    commands = []
    for container in containers(example):
        command = container.get("command", []) + container.get("args", [])
        if "gan3d.train" in command:
            text = "\n".join(command)
            for placeholder, value in drawn.items():
                text = text.replace(placeholder, value)
            commands.append(text.split("\n"))
    assert len(commands) == 3
    for number, (_python, *args) in enumerate(commands):
        out = tmp_path / str(number)
        run = science.run(example, *args, *small, f"--out={out}")
        assert run.returncode == 0, run.stderr
        assert (out / "model.npz").exists()
