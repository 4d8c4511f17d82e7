"""A pipeline that the real KFP compiler wrote."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler, dsl

from kitbag.specs import Target, pin


@dsl.component(base_image="python:3.11-slim", packages_to_install=["numpy==2.1.0"])
def train(rows: int, image: str = "python:3.11-slim") -> str:
    """Says image: python:3.11-slim in its own source, which stays."""
    text = f"image: python:3.11-slim\n{rows} {image} \U0001f600"
    print(text)
    return text


@dsl.container_component
def report(text: str) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="python:3.11-slim", command=["echo"], args=[text])


@dsl.pipeline(name="gan3d", description="image: python:3.11-slim")
def pipeline(rows: int = 10, image: str = "python:3.11-slim") -> None:
    task = train(rows=rows, image=image)
    report(text=task.output)


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_compiled_pipeline_keeps_everything_but_the_executors_images(
    tmp_path: Path, digest: str, suffix: str
) -> None:
    path = tmp_path / f"pipeline.{suffix}"
    compiler.Compiler().compile(pipeline, str(path))
    before = path.read_bytes()
    pinned = pin(before, Target(image=digest), filename=str(path))
    assert sorted(change.container for change in pinned.changes) == ["exec-report", "exec-train"]
    old, new = (
        json.loads(data) if suffix == "json" else next(yaml.safe_load_all(data))
        for data in (before, pinned.data)
    )
    for executor in old["deploymentSpec"]["executors"].values():
        assert executor["container"]["image"] == "python:3.11-slim"
        executor["container"]["image"] = digest
    assert new == old
    changed = len(digest) - len("python:3.11-slim")
    assert len(pinned.data) == len(before) + 2 * changed
    assert pin(pinned.data, Target(image=digest)).data == pinned.data


def test_one_step_can_be_pinned_by_its_executor(tmp_path: Path, digest: str) -> None:
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    pinned = pin(path.read_bytes(), Target(image=digest), container="exec-train")
    assert [change.container for change in pinned.changes] == ["exec-train"]
