"""The generator, the discriminator, and the game they play."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from gan3d import nets
from gan3d.showers import ENERGY_MAX_GEV, ENERGY_MIN_GEV, Array, Showers, check_grid

MAX_LATENT = 256
MAX_VOXELS = 2**17  # generated at a time: some 250 MB of patches


def condition(energy_gev: Array) -> Array:
    """Return the photons' energies as -1 to 1 on a logarithmic scale, shape (n, 1)."""
    low, high = np.log([ENERGY_MIN_GEV, ENERGY_MAX_GEV])
    scaled = (2.0 * np.log(energy_gev) - low - high) / (high - low)
    return np.asarray(scaled, dtype=np.float32)[:, None]


class Generator:
    """Noise and a photon's energy in, shares of that energy in each voxel out."""

    def __init__(self, grid: int, latent: int, rng: np.random.Generator) -> None:
        if not 1 <= latent <= MAX_LATENT:
            raise ValueError(f"the latent size must be from 1 to {MAX_LATENT}, not {latent}")
        self.grid, self.latent = check_grid(grid), latent
        seed = grid // 4
        self.net = nets.stack(
            nets.dense(latent + 1, 16 * seed**3, rng),
            nets.leaky_relu(),
            nets.reshape(seed, seed, seed, 16),
            nets.upsample(),
            nets.conv(16, 8, rng),
            nets.leaky_relu(),
            nets.upsample(),
            nets.conv(8, 1, rng),
            nets.reshape(grid**3),
            nets.share(),
        )

    def shares(self, energy_gev: Array, rng: np.random.Generator) -> tuple[Array, nets.Back]:
        """Return shares of shape (n, grid**3), and the way back from their gradient."""
        noise = rng.standard_normal((len(energy_gev), self.latent), dtype=np.float32)
        return self.net.apply(np.hstack([noise, condition(energy_gev)]))

    def generate(self, energy_gev: Array, rng: np.random.Generator) -> Showers:
        """Return one shower for each energy."""
        size = max(1, MAX_VOXELS // self.grid**3)
        parts = range(0, len(energy_gev), size)
        shares = np.concatenate([self.shares(energy_gev[i : i + size], rng)[0] for i in parts])
        voxels = shares * energy_gev[:, None]
        return Showers(energy_gev, voxels.reshape(-1, *(self.grid,) * 3))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, np.array([self.grid, self.latent]), *(p.value for p in self.net.params))

    @classmethod
    def load(cls, path: Path) -> "Generator":
        """Return the generator that `save` wrote to `path`; raise ValueError if it is another's."""
        try:
            with np.load(path, allow_pickle=False) as file:
                grid, latent = file["arr_0"].tolist()
                made = cls(grid, latent, np.random.default_rng())
                for i, param in enumerate(made.net.params, 1):
                    param.value[...] = file[f"arr_{i}"].reshape(param.value.shape)
        except (AttributeError, BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds no generator: train one with gan3d.train") from error
        return made


class Discriminator:
    """Shares and a photon's energy in, a logit out: above zero it believes in the shower."""

    def __init__(self, grid: int, rng: np.random.Generator) -> None:
        self.see = nets.stack(nets.contrast(), nets.reshape(grid, grid, grid, 1))
        self.net = nets.stack(
            nets.conv(2, 8, rng),
            nets.leaky_relu(),
            nets.pool(),
            nets.conv(8, 16, rng),
            nets.leaky_relu(),
            nets.pool(),
            nets.reshape(16 * (grid // 4) ** 3),
            nets.dense(16 * (grid // 4) ** 3, 1, rng),
        )

    def logits(self, shares: Array, energy_gev: Array) -> tuple[Array, nets.Back]:
        """Return logits of shape (n, 1), and the way back to the gradient by the shares."""
        image, unsee = self.see.apply(shares)
        told = np.broadcast_to(condition(energy_gev).reshape(-1, 1, 1, 1, 1), image.shape)
        logits, back = self.net.apply(np.concatenate([image, told], axis=-1))
        return logits, lambda grad: unsee(back(grad)[..., :1])


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


class Game:
    """One discriminator step and one generator step at a time (arXiv:1406.2661)."""

    def __init__(self, grid: int, latent: int, lr: float, rng: np.random.Generator) -> None:
        self.rng = rng
        self.generator = Generator(grid, latent, rng)
        self.discriminator = Discriminator(grid, rng)
        self.generator_step = nets.Adam(self.generator.net.params, lr).step
        self.discriminator_step = nets.Adam(self.discriminator.net.params, lr).step

    def play(self, batch: Showers) -> tuple[float, float]:
        """Learn from one batch of real showers; return the discriminator's and generator's loss."""
        energy, count = batch.energy_gev, len(batch.energy_gev)
        real = batch.voxels_gev.reshape(count, -1) / energy[:, None]
        fake, to_generator = self.generator.shares(energy, self.rng)

        truth = np.repeat(np.array([[0.9], [0.0]], np.float32), count, axis=0)
        both = np.concatenate([real, fake])
        verdict, back = self.discriminator.logits(both, np.tile(energy, 2))
        back((_sigmoid(verdict) - truth) / len(verdict))
        self.discriminator_step()

        doubt, back = self.discriminator.logits(fake, energy)
        to_generator(back((_sigmoid(doubt) - 1.0) / count))
        self.generator_step()
        loss = np.logaddexp(0.0, verdict) - truth * verdict
        return float(loss.mean()), float(np.logaddexp(0.0, -doubt).mean())
