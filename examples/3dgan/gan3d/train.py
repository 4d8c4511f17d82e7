"""Train the GAN: `python -m gan3d.train --epochs 1 --grid 8 --out DIR`.

In a job of many workers each trains a replica of its own, from its own seed and on its own
batches, and the chief writes its replica; no gradients travel. Metrics are printed as `name=value`,
which is what Katib collects.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gan3d.cli import run
from gan3d.cluster import Worker
from gan3d.gan import Game
from gan3d.showers import Showers, draw_energies, profile_error, simulate


def epochs(game: Game, showers: Showers, count: int, batch: int) -> Iterator[dict[str, float]]:
    """Play `count` epochs and yield the metrics after each; raise ValueError if it diverges."""
    energy, voxels = showers.energy_gev, showers.voxels_gev
    total = len(energy) * 4 // 5  # the rest is for judging
    unseen = Showers(energy[total:], voxels[total:])
    if count < 1:
        raise ValueError(f"the number of epochs must be at least 1, not {count}")
    if not 1 <= batch <= total:
        raise ValueError(f"the batch must be from 1 to {total}, the showers there are, not {batch}")
    for _ in range(count):
        order = game.rng.permutation(total)
        picks = [order[i : i + batch] for i in range(0, total - batch + 1, batch)]
        losses = [game.play(Showers(energy[p], voxels[p])) for p in picks]
        discriminator, generator = np.mean(losses, axis=0)
        if not np.isfinite(discriminator + generator):
            raise ValueError("the training diverged: try again with a smaller --lr")
        made = game.generator.generate(unseen.energy_gev, game.rng)
        yield {
            "profile_error": round(profile_error(made, unseen), 4),
            "discriminator_loss": round(float(discriminator), 4),
            "generator_loss": round(float(generator), 4),
        }


def _work(args: argparse.Namespace) -> None:
    worker = Worker.from_env()
    rng = np.random.default_rng([args.seed, worker.rank])
    if args.data:
        showers = Showers.load(args.data)
    else:
        showers = simulate(draw_energies(args.showers, rng), args.grid, rng)
    grid = showers.voxels_gev.shape[-1]
    game = Game(grid, args.latent, args.lr, rng)

    start = time.monotonic()
    metrics: dict[str, float] = {}
    for epoch, metrics in enumerate(epochs(game, showers, args.epochs, args.batch), 1):
        print(f"epoch={epoch}", *(f"{name}={value}" for name, value in metrics.items()), flush=True)

    if worker.chief:
        game.generator.save(args.out / "model.npz")
        asked = {name: getattr(args, name) for name in ("epochs", "batch", "latent", "lr", "seed")}
        took = {"grid": grid, "workers": worker.size, "seconds": round(time.monotonic() - start, 2)}
        text = json.dumps(metrics | asked | took, indent=2)
        (args.out / "metrics.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser("gan3d.train", description="Train the GAN.")
    parser.add_argument("--data", type=Path, help="showers to learn from; else they are simulated")
    parser.add_argument("--showers", type=int, default=2000)
    parser.add_argument("--grid", type=int, default=8, help="voxels along each side")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--latent", type=int, default=16, help="size of the noise")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for model and metrics")
    run(parser, _work)
