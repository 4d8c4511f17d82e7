from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

GRADIENTS = """
import numpy as np
from gan3d import nets

rng = np.random.default_rng(0)
BLOCKS = {
    "dense": (nets.dense(5, 3, rng), (4, 5)),
    "conv": (nets.conv(2, 3, rng), (2, 4, 4, 4, 2)),
    "leaky_relu": (nets.leaky_relu(), (4, 5)),
    "upsample": (nets.upsample(), (2, 2, 2, 2, 3)),
    "pool": (nets.pool(), (2, 4, 4, 4, 3)),
    "share": (nets.share(), (3, 7)),
    "contrast": (nets.stack(nets.share(), nets.contrast()), (3, 7)),
    "reshape": (nets.stack(nets.dense(5, 8, rng), nets.reshape(2, 2, 2, 1)), (4, 5)),
}
for name, (layer, shape) in BLOCKS.items():
    for param in layer.params:
        param.value = param.value.astype(np.float64)
    x = rng.normal(size=shape)
    out, back = layer.apply(x)
    weights = rng.normal(size=out.shape)
    arrays = [(x, back(weights))] + [(p.value, p.grad) for p in layer.params]
    for array, gradient in arrays:
        assert gradient.shape == array.shape, name
        for index in rng.choice(array.size, min(array.size, 12), replace=False):
            kept, step, sums = array.flat[index], 1e-6, []
            for value in (kept + step, kept - step):
                array.flat[index] = value
                sums.append((layer.apply(x)[0] * weights).sum())
            array.flat[index] = kept
            measured = (sums[0] - sums[1]) / (2 * step)
            assert np.isclose(gradient.flat[index], measured, rtol=1e-4, atol=1e-7), name
    print(name)
"""

UNTRAINED = """
import sys
import numpy as np
from gan3d.gan import Generator
Generator(8, 16, np.random.default_rng(0)).save(__import__("pathlib").Path(sys.argv[1]))
"""

PHYSICS = """
import numpy as np
from gan3d.showers import CRITICAL_ENERGY_GEV, DEPTH_X0, profile, simulate

rng = np.random.default_rng(0)
for gev in (10.0, 100.0, 500.0):
    energy = np.full(400, gev, np.float32)
    showers = simulate(energy, 32, rng)
    left = showers.voxels_gev.sum(axis=(1, 2, 3))
    assert (left <= energy * 1.0001).all() and (left > 0.7 * energy).all()
    deepest = (profile(showers).argmax() + 0.5) * DEPTH_X0 / 32
    assert abs(deepest - np.log(gev / CRITICAL_ENERGY_GEV) - 0.5) < 1.0, (gev, deepest)
    across = showers.voxels_gev.sum(axis=(0, 1))
    assert np.abs(across - across[::-1]).sum() < 0.1 * across.sum()
"""


def test_every_layer_goes_back_the_way_it_came(science, example: Path) -> None:
    run = science.run(example, "-c", GRADIENTS)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == 8


def test_showers_keep_their_energy_and_peak_where_theory_says(science, example: Path) -> None:
    run = science.run(example, "-c", PHYSICS)
    assert run.returncode == 0, run.stderr


def test_training_leaves_a_model_and_its_metrics(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["grid"], metrics["epochs"], metrics["workers"]) == (8, 2, 1)
    assert 0 < metrics["profile_error"] < 0.4
    assert sorted(path.name for path in trained.iterdir()) == ["metrics.json", "model.npz"]


def test_two_epochs_put_half_of_what_was_misplaced_in_its_place(
    science, example: Path, trained: Path, tmp_path: Path
) -> None:
    fresh, data = tmp_path / "fresh.npz", tmp_path / "showers.h5"
    science.run(example, "-c", UNTRAINED, fresh)
    science.run(example, "-m", "gan3d.simulate", "--showers", 500, "--seed", 9, "--out", data)
    found = []
    for model in (trained / "model.npz", fresh):
        out = tmp_path / model.stem
        run = science.run(
            example, "-m", "gan3d.evaluate", "--model", model, "--data", data, "--out", out
        )
        assert run.returncode == 0, run.stderr
        assert (out / "profiles.csv").read_text().count("\n") == 1 + 3 * 8
        found.append(json.loads((out / "errors.json").read_text()))
    after, before = found
    assert len(after) == 3
    assert sum(after.values()) < 0.5 * sum(before.values()), found


def test_the_same_seed_trains_the_same_model_and_another_rank_another(
    science, example: Path, tmp_path: Path
) -> None:
    outs = {"once": "0", "again": "0", "other": "1"}
    for out, seed in outs.items():
        run = science.run(
            example, "-m", "gan3d.train", "--showers", 100, "--epochs", 1,
            "--seed", seed, "--out", tmp_path / out,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
    once, again, other = ((tmp_path / out / "model.npz").read_bytes() for out in outs)
    assert once == again != other


def test_only_the_chief_writes(science, example: Path, tmp_path: Path) -> None:
    command = ["-m", "gan3d.train", "--showers", 100, "--epochs", 1, "--out", tmp_path / "out"]
    worker = science.run(example, *command, extra_env={"RANK": "1", "WORLD_SIZE": "2"})
    assert worker.returncode == 0, worker.stderr
    assert "profile_error=" in worker.stdout
    assert not (tmp_path / "out").exists()
    chief = science.run(example, *command, extra_env={"RANK": "0", "WORLD_SIZE": "2"})
    assert chief.returncode == 0, chief.stderr
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["workers"] == 2


def test_generated_showers_are_stored_like_simulated_ones(
    science, example: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "fast.h5"
    run = science.run(
        example, "-m", "gan3d.generate", "--model", trained / "model.npz",
        "--energy", 50, "--count", 300, "--out", out,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    check = (
        "import sys, pathlib; from gan3d.showers import Showers\n"
        "showers = Showers.load(pathlib.Path(sys.argv[1]))\n"
        "left = showers.voxels_gev.sum(axis=(1, 2, 3))\n"
        "assert showers.voxels_gev.shape == (300, 8, 8, 8)\n"
        "assert (showers.voxels_gev >= 0).all() and (left <= 50.001).all() and (left > 0).all()\n"
    )
    run = science.run(example, "-c", check, out)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["train", "--grid", "9", "--out", "OUT"], "a grid of 9"),
        (["train", "--epochs", "0", "--out", "OUT"], "number of epochs"),
        (["train", "--batch", "0", "--out", "OUT"], "the batch must be"),
        (["train", "--latent", "100000", "--out", "OUT"], "the latent size"),
        (["train", "--showers", "10000000000", "--out", "OUT"], "the number of showers"),
        (["train", "--data", "MODEL", "--out", "OUT"], "file signature not found"),
        (["train", "--data", "NOWHERE", "--out", "OUT"], "No such file"),
        (["generate", "--model", "TEXT", "--out", "OUT"], "holds no generator"),
        (["generate", "--model", "MODEL", "--energy", "nan", "--out", "OUT"], "from 10 to 500 GeV"),
        (["generate", "--model", "MODEL", "--count", "0", "--out", "OUT"], "--count must be"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    science, example: Path, trained: Path, tmp_path: Path, command: list[str], reason: str
) -> None:
    text = tmp_path / "text.npz"
    text.write_text("not a model")
    places = {"OUT": tmp_path / "out", "MODEL": trained / "model.npz", "TEXT": text}
    places["NOWHERE"] = tmp_path / "nowhere.h5"
    module, *args = command
    run = science.run(example, "-m", f"gan3d.{module}", *(places.get(arg, arg) for arg in args))
    assert run.returncode == 2
    assert reason in run.stderr
    assert run.stderr.count("\n") == 1, run.stderr
    assert not (tmp_path / "out").exists()
