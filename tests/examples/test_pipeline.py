from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kfp import compiler
from ruamel.yaml import YAML


@pytest.fixture(scope="module")
def pipeline(example: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gan3d_pipeline", example / "pipeline.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compiled(example: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(example / "pipeline.yaml")


def test_compiling_the_pipeline_gives_the_committed_file(
    pipeline: ModuleType, example: Path, tmp_path: Path
) -> None:
    again = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.pipeline, str(again))

    def text(path: Path) -> str:
        return re.sub(r"(?m)^sdkVersion: .*$", "sdkVersion: kfp", path.read_text())

    assert text(again) == text(example / "pipeline.yaml")


def test_every_step_that_runs_a_container_asks_kitbag_for_its_image(
    compiled: dict[str, Any],
) -> None:
    executors = compiled["deploymentSpec"]["executors"]
    images = [body["container"]["image"] for body in executors.values() if "container" in body]
    assert images == ["kitbag://hep/3dgan"] * 4


@pytest.mark.slow
def test_the_compiled_steps_run_in_their_order_from_a_zip_of_the_code(
    science, compiled: dict[str, Any], code_zip: Path, tmp_path: Path
) -> None:
    """What KFP's driver and launcher do with a step, done here: fill the placeholders in, run."""
    given = {"code": str(code_zip), "grid": 8, "count": 200, "epochs": 1, "lr": 1e-3, "latent": 8}
    tasks = compiled["root"]["dag"]["tasks"]
    assert tasks.keys() == {"importer", "simulate", "simulate-2", "train", "evaluate"}

    def outputs(task: str, name: str) -> str:
        return str(code_zip) if task == "importer" else str(tmp_path / task / name)

    done = {"importer"}
    while waiting := [name for name in tasks if name not in done]:
        name = next(n for n in waiting if done.issuperset(tasks[n].get("dependentTasks", [])))
        inputs = tasks[name]["inputs"]
        values = {}
        for key, source in inputs.get("artifacts", {}).items():
            made = source["taskOutputArtifact"]
            path = outputs(made["producerTask"], made["outputArtifactKey"])
            values[f"{{{{$.inputs.artifacts['{key}'].path}}}}"] = path
        for key, source in inputs.get("parameters", {}).items():
            value = (
                given[source["componentInputParameter"]]
                if "componentInputParameter" in source
                else int(source["runtimeValue"]["constant"])
            )
            values[f"{{{{$.inputs.parameters['{key}']}}}}"] = str(value)
        component = compiled["components"][tasks[name]["componentRef"]["name"]]
        for key in component["outputDefinitions"]["artifacts"]:
            values[f"{{{{$.outputs.artifacts['{key}'].path}}}}"] = outputs(name, key)

        container = compiled["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        words = container["command"] + container["args"]
        for placeholder, value in values.items():
            words = [word.replace(placeholder, value) for word in words]
        assert "{{" not in " ".join(words)
        assert words[:3] == ["env", f"PYTHONPATH={code_zip}", "python"]
        run = science.run(code_zip, *words[3:])
        assert run.returncode == 0, f"{name}: {run.stderr}"
        done.add(name)

    assert (tmp_path / "train" / "model" / "model.npz").exists()
    assert (tmp_path / "evaluate" / "report" / "errors.json").exists()
