"""Generate showers: `python -m gan3d.generate --model DIR/model.npz --energy 50 --out fast.h5`."""

import argparse
from pathlib import Path

import numpy as np

from gan3d.cli import run
from gan3d.gan import Generator
from gan3d.showers import ENERGY_MAX_GEV, ENERGY_MIN_GEV, MAX_SHOWERS


def _work(args: argparse.Namespace) -> None:
    if not ENERGY_MIN_GEV <= args.energy <= ENERGY_MAX_GEV:
        raise ValueError(f"--energy must be from {ENERGY_MIN_GEV:g} to {ENERGY_MAX_GEV:g} GeV")
    if not 1 <= args.count <= MAX_SHOWERS:
        raise ValueError(f"--count must be from 1 to {MAX_SHOWERS}")
    energy = np.full(args.count, args.energy, np.float32)
    Generator.load(args.model).generate(energy, np.random.default_rng(args.seed)).save(args.out)
    print(f"{args.count} showers of {args.energy:g} GeV in {args.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser("gan3d.generate", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--energy", type=float, default=100.0, help="of each photon, in GeV")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    run(parser, _work)
