"""The pipeline: simulate, train, evaluate. `python pipeline.py` writes pipeline.yaml beside it.

The image carries the packages, git carries the code: each step imports `gan3d` straight from a
zip file that `git archive --format=zip -o 3dgan.zip HEAD gan3d` makes of a commit.
"""

from pathlib import Path

from kfp import compiler, dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

IMAGE = "kitbag://hep/3dgan"


def step(code: Input[Artifact], module: str, *args: object) -> dsl.ContainerSpec:
    """Return a container that runs one of the package's commands."""
    command = ["env", f"PYTHONPATH={code.path}", "python", "-m", f"gan3d.{module}"]
    return dsl.ContainerSpec(image=IMAGE, command=command, args=list(args))


@dsl.container_component
def simulate(code: Input[Artifact], showers: Output[Dataset], count: int, grid: int, seed: int):
    args = ["--showers", count, "--grid", grid, "--seed", seed, "--out", showers.path]
    return step(code, "simulate", *args)


@dsl.container_component
def train(
    code: Input[Artifact],
    data: Input[Dataset],
    model: Output[Model],
    epochs: int,
    lr: float,
    latent: int,
):
    args = ["--epochs", epochs, "--lr", lr, "--latent", latent]
    return step(code, "train", "--data", data.path, *args, "--out", model.path)


@dsl.container_component
def evaluate(
    code: Input[Artifact], data: Input[Dataset], model: Input[Model], report: Output[Artifact]
):
    args = ["--model", f"{model.path}/model.npz", "--data", data.path, "--out", report.path]
    return step(code, "evaluate", *args)


@dsl.pipeline(name="3dgan", description="Learns to simulate showers in a calorimeter.")
def pipeline(
    code: str = "minio://mlpipeline/hep/3dgan.zip",
    grid: int = 8,
    count: int = 20000,
    epochs: int = 10,
    lr: float = 0.001,
    latent: int = 16,
):
    source = dsl.importer(artifact_uri=code, artifact_class=Artifact).output
    known = simulate(code=source, count=count, grid=grid, seed=1).outputs["showers"]
    unseen = simulate(code=source, count=2000, grid=grid, seed=2).outputs["showers"]
    trained = train(code=source, data=known, epochs=epochs, lr=lr, latent=latent)
    trained.set_cpu_limit("4").set_memory_limit("8Gi")
    evaluate(code=source, data=unseen, model=trained.outputs["model"])


if __name__ == "__main__":
    compiler.Compiler().compile(pipeline, str(Path(__file__).with_suffix(".yaml")))
