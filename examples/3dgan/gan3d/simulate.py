"""Simulate showers: `python -m gan3d.simulate --showers 2000 --grid 8 --out showers.h5`."""

import argparse
from pathlib import Path

import numpy as np

from gan3d.cli import run
from gan3d.showers import draw_energies, simulate


def _work(args: argparse.Namespace) -> None:
    rng = np.random.default_rng(args.seed)
    simulate(draw_energies(args.showers, rng), args.grid, rng).save(args.out)
    print(f"{args.showers} showers on a grid of {args.grid} in {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser("gan3d.simulate", description=__doc__)
    parser.add_argument("--showers", type=int, default=2000)
    parser.add_argument("--grid", type=int, default=8, help="voxels along each side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    run(parser, _work)
