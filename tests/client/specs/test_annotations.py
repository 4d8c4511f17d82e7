"""What is said about a step's pods goes to KFP's platform document, beside what is there."""

from pathlib import Path

import yaml
from kfp import compiler, dsl, kubernetes

from kitbag.specs import Target, pin

IMAGE = "r.example.org/alice/3dgan@sha256:" + "c0ffee42" * 8
SAID = {"example.org/version": "alice/3dgan:4", "example.org/number": "12"}
TARGET = Target(known={IMAGE: IMAGE}, annotations={IMAGE: SAID})


def compiled(path: Path, *, annotated: bool) -> bytes:
    # The source of a Python component says `import *`, for which every key is read as well.
    @dsl.container_component
    def train() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=IMAGE, command=["true"])

    @dsl.pipeline(name="gan")
    def pipeline() -> None:
        task = train()
        if annotated:
            kubernetes.add_pod_annotation(task, "team", "hep")
            kubernetes.add_pod_label(task, "tier", "gold")

    compiler.Compiler().compile(pipeline, str(path))
    return path.read_bytes()


def test_annotations_that_are_there_stay_where_the_text_never_says_whose_they_are(
    tmp_path: Path,
) -> None:
    data = compiled(tmp_path / "p.yaml", annotated=True)
    assert b"kitbag" not in data  # else every key would be read
    done = pin(data, TARGET)
    _, platform = yaml.safe_load_all(done.data)
    (found,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert found == {
        "podMetadata": {"annotations": {"team": "hep", **SAID}, "labels": {"tier": "gold"}}
    }
    assert pin(done.data, TARGET).data == done.data
    assert done.data.count(b"podMetadata") == 1


def test_a_pipeline_without_a_platform_document_gets_one(tmp_path: Path) -> None:
    data = compiled(tmp_path / "p.yaml", annotated=False)
    done = pin(data, TARGET)
    assert done.data.startswith(data)
    _, platform = yaml.safe_load_all(done.data)
    (found,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert found == {"podMetadata": {"annotations": SAID}}


def test_images_that_are_not_known_are_left_alone(tmp_path: Path) -> None:
    data = compiled(tmp_path / "p.yaml", annotated=True)
    other = IMAGE.replace("c0ffee42", "deadbeef")
    assert pin(data, Target(known={other: IMAGE}, annotations={IMAGE: SAID})).data == data
