"""Toy photon showers in a block of lead tungstate, seen as a grid of voxels.

Lengthwise the energy follows a gamma distribution whose maximum moves with the logarithm of the
photon's energy (PDG review, "Passage of particles through matter", electromagnetic cascades).
Sideways it follows the rational function of Grindhammer and Peters (hep-ex/0001020), with 90 % of
the energy inside one Molière radius. Each shower is made of energy spots drawn from the two.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ENERGY_MIN_GEV, ENERGY_MAX_GEV = 10.0, 500.0
CRITICAL_ENERGY_GEV = 9.64e-3  # lead tungstate
DEPTH_X0 = 25.0  # the block's length, in radiation lengths
WIDTH_RM = 4.0  # its width and height, in Molière radii
SPOTS = 500  # per shower
CHUNK = 256  # showers in memory as spots at a time
MAX_SHOWERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Showers:
    """Energies of `n` photons, shape (n,), and what each left in the voxels, both in GeV.

    Voxels have shape (n, grid, grid, grid): depth first, then the two directions across.
    """

    energy_gev: Array
    voxels_gev: Array

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["energy_gev"] = self.energy_gev
            file.create_dataset(
                "voxels_gev", data=self.voxels_gev, compression="gzip", shuffle=True
            )

    @classmethod
    def load(cls, path: Path) -> "Showers":
        """Return the showers that `save` wrote to `path`; raise ValueError if it holds others."""
        with h5py.File(path, "r") as file:
            if not {"energy_gev", "voxels_gev"} <= file.keys():
                raise ValueError(f"{path} holds no showers: make some with gan3d.simulate")
            energy, voxels = file["energy_gev"], file["voxels_gev"]
            grid = check_grid(voxels.shape[-1])
            if len(energy) > MAX_SHOWERS or voxels.shape != (len(energy), grid, grid, grid):
                raise ValueError(f"{path} holds no showers: its voxels have shape {voxels.shape}")
            return cls(energy[:], voxels[:])


def check_grid(grid: int) -> int:
    """Return `grid` if the networks can double it twice from a whole number; else ValueError."""
    if grid not in range(8, 33, 4):
        raise ValueError(f"a grid of {grid} is not one of 8, 12, 16, 20, 24, 28, 32")
    return grid


def draw_energies(count: int, rng: np.random.Generator) -> Array:
    """Return `count` photon energies in GeV, flat in their logarithm."""
    if not 1 <= count <= MAX_SHOWERS:
        raise ValueError(f"the number of showers must be from 1 to {MAX_SHOWERS}, not {count}")
    low, high = np.log([ENERGY_MIN_GEV, ENERGY_MAX_GEV])
    return np.exp(rng.uniform(low, high, count)).astype(np.float32)


def simulate(energy_gev: Array, grid: int, rng: np.random.Generator) -> Showers:
    """Return one shower for each energy; what leaves the block on its sides or back is lost."""
    check_grid(grid)
    parts = range(0, len(energy_gev), CHUNK)
    voxels = [_shower(energy_gev[i : i + CHUNK], grid, rng) for i in parts]
    return Showers(energy_gev, np.concatenate(voxels))


def _shower(energy_gev: Array, grid: int, rng: np.random.Generator) -> Array:
    count = len(energy_gev)
    # Showers of one energy differ: where they start, and how fast they die.
    b = 0.5 * rng.lognormal(0.0, 0.1, (count, 1))
    t_max = np.log(energy_gev / CRITICAL_ENERGY_GEV) + 0.5 + rng.normal(0.0, 0.5, count)
    depth = rng.gamma(1.0 + b * t_max[:, None], 1.0 / b, (count, SPOTS)) / DEPTH_X0

    u = rng.uniform(0.0, 1.0, (count, SPOTS))
    radius = np.sqrt(u / (1.0 - u)) / 3.0 / WIDTH_RM  # u = 0.9 is one Molière radius
    angle = rng.uniform(0.0, 2.0 * np.pi, (count, SPOTS))
    position = np.stack([depth, 0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)])

    inside = np.all((position >= 0.0) & (position < 1.0), axis=0)
    cell = np.minimum(position * grid, grid - 1).astype(np.int64)
    index = np.ravel_multi_index(tuple(cell), (grid,) * 3, mode="clip")
    index += grid**3 * np.arange(count)[:, None]
    hits = np.bincount(index[inside], minlength=count * grid**3).reshape((count,) + (grid,) * 3)
    return (hits * (energy_gev / SPOTS)[:, None, None, None]).astype(np.float32)


def profile(showers: Showers) -> Array:
    """Return the mean share of the photon's energy left in each slice of depth, shape (grid,)."""
    share = showers.voxels_gev.sum(axis=(2, 3)) / showers.energy_gev[:, None]
    return np.asarray(share.mean(axis=0))


def profile_error(made: Showers, real: Showers) -> float:
    """Return how much of the mean profile is misplaced: 0 is perfect, 2 is disjoint."""
    expected = profile(real)
    return float(np.abs(profile(made) - expected).sum() / expected.sum())
