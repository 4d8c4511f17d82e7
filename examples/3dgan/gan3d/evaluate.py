"""Compare generated and simulated showers by their longitudinal profiles, energy by energy."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from gan3d.cli import run
from gan3d.gan import Generator
from gan3d.showers import DEPTH_X0, Array, Showers, profile

BANDS_GEV = (10, 50, 200, 500)


def profiles(generator: Generator, real: Showers, rng: np.random.Generator) -> pd.DataFrame:
    """Return a row for each band of energy and slice of depth, with both mean profiles."""
    if real.voxels_gev.shape[-1] != generator.grid:
        raise ValueError(f"the model's grid is {generator.grid}: simulate showers on that grid")
    made = generator.generate(real.energy_gev, rng)
    depth = (np.arange(generator.grid) + 0.5) * DEPTH_X0 / generator.grid
    bands = np.digitize(real.energy_gev, BANDS_GEV[1:-1])
    tables = []
    for band in np.unique(bands):
        chosen = bands == band
        both = {"simulated": _profile(real, chosen), "generated": _profile(made, chosen)}
        name = f"{BANDS_GEV[band]}-{BANDS_GEV[band + 1]}"
        tables.append(pd.DataFrame({"energy_gev": name, "depth_x0": depth} | both))
    return pd.concat(tables, ignore_index=True)


def _profile(showers: Showers, chosen: Array) -> Array:
    return profile(Showers(showers.energy_gev[chosen], showers.voxels_gev[chosen]))


def errors(table: pd.DataFrame) -> dict[str, float]:
    """Return how much of the profile is misplaced in each band: 0 is perfect, 2 is disjoint."""
    misplaced = (table["generated"] - table["simulated"]).abs().groupby(table["energy_gev"]).sum()
    share = misplaced / table["simulated"].groupby(table["energy_gev"]).sum()
    return {f"profile_error_{band}_gev": round(error, 4) for band, error in share.items()}


def _work(args: argparse.Namespace) -> None:
    generator, real = Generator.load(args.model), Showers.load(args.data)
    table = profiles(generator, real, np.random.default_rng(args.seed))
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "profiles.csv", index=False, float_format="%.5f")
    text = json.dumps(errors(table), indent=2)
    (args.out / "errors.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("gan3d.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="showers it was not trained on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for profiles and errors")
    run(parser, _work)
