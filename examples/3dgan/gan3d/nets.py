"""The few layers a 3D GAN needs, forwards and backwards, in NumPy; and Adam.

Arrays are channels-last: (batch, depth, height, width, channels).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gan3d.showers import Array

Back = Callable[[Array], Array]


class Param:
    """A trained array, and the gradient that the last way back left for it."""

    def __init__(self, value: Array) -> None:
        self.value = value.astype(np.float32)
        self.grad = np.zeros_like(self.value)


@dataclass(frozen=True, slots=True)
class Layer:
    """`apply` returns the layer's output and the way back: a function from the loss's gradient by
    that output to the gradient by the input, which also sets the gradients of `params`."""

    apply: Callable[[Array], tuple[Array, Back]]
    params: tuple[Param, ...] = ()


def stack(*layers: Layer) -> Layer:
    """Return layers one after the other, as one."""

    def apply(x: Array) -> tuple[Array, Back]:
        backs: list[Back] = []
        for layer in layers:
            x, back = layer.apply(x)
            backs.append(back)

        def unwind(grad: Array) -> Array:
            for back in reversed(backs):
                grad = back(grad)
            return grad

        return x, unwind

    return Layer(apply, tuple(chain.from_iterable(layer.params for layer in layers)))


def dense(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    weight = Param(rng.normal(0.0, np.sqrt(2.0 / inputs), (inputs, outputs)))
    bias = Param(np.zeros(outputs))

    def apply(x: Array) -> tuple[Array, Back]:
        def back(grad: Array) -> Array:
            weight.grad, bias.grad = x.T @ grad, grad.sum(axis=0)
            return np.asarray(grad @ weight.value.T)

        return x @ weight.value + bias.value, back

    return Layer(apply, (weight, bias))


def _convolve(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Return `x` convolved with a (3, 3, 3, in, out) kernel, zeros around, and its patches."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3), axis=(1, 2, 3))
    patches = np.moveaxis(windows, 4, -1).reshape(-1, kernel[..., 0].size)
    out = patches @ kernel.reshape(-1, kernel.shape[-1])
    return out.reshape(*x.shape[:-1], -1), patches


def conv(inputs: int, outputs: int, rng: np.random.Generator) -> Layer:
    """Return a 3 x 3 x 3 convolution that keeps the grid's size."""
    kernel = Param(rng.normal(0.0, np.sqrt(2.0 / (27 * inputs)), (3, 3, 3, inputs, outputs)))
    bias = Param(np.zeros(outputs))

    def apply(x: Array) -> tuple[Array, Back]:
        out, patches = _convolve(x, kernel.value)

        def back(grad: Array) -> Array:
            flat = grad.reshape(-1, outputs)
            kernel.grad = (patches.T @ flat).reshape(kernel.value.shape)
            bias.grad = flat.sum(axis=0)
            return _convolve(grad, kernel.value[::-1, ::-1, ::-1].swapaxes(3, 4))[0]

        return out + bias.value, back

    return Layer(apply, (kernel, bias))


def leaky_relu() -> Layer:
    def apply(x: Array) -> tuple[Array, Back]:
        slope = np.where(x > 0, 1.0, 0.2).astype(x.dtype)
        return x * slope, lambda grad: np.asarray(grad * slope)

    return Layer(apply)


def reshape(*shape: int) -> Layer:
    return Layer(lambda x: (x.reshape(len(x), *shape), lambda grad: grad.reshape(x.shape)))


def _eights(x: Array) -> Array:
    n, d, h, w, c = x.shape
    return np.asarray(x.reshape(n, d // 2, 2, h // 2, 2, w // 2, 2, c).sum(axis=(2, 4, 6)))


def _repeat(x: Array) -> Array:
    return x.repeat(2, axis=1).repeat(2, axis=2).repeat(2, axis=3)


def upsample() -> Layer:
    """Return a layer that doubles the grid: each voxel becomes eight."""
    return Layer(lambda x: (_repeat(x), _eights))


def pool() -> Layer:
    """Return a layer that halves the grid: eight voxels become their mean."""
    return Layer(lambda x: (_eights(x) / 8, lambda grad: _repeat(grad) / 8))


def share() -> Layer:
    """Return a softmax over the voxels and one silent cell for what leaks: shares of the energy,
    none negative, their sum below one."""

    def apply(x: Array) -> tuple[Array, Back]:
        peak = np.maximum(x.max(axis=1, keepdims=True), 0.0)
        weight = np.exp(x - peak)
        out = weight / (weight.sum(axis=1, keepdims=True) + np.exp(-peak))
        return out, lambda grad: out * (grad - (grad * out).sum(axis=1, keepdims=True))

    return Layer(apply)


def contrast(gain: float = 1000.0) -> Layer:
    """Return a logarithm from 0..1 to 0..1 that lets a discriminator see faint voxels."""
    scale = 1.0 / float(np.log1p(gain))
    return Layer(
        lambda x: (np.log1p(gain * x) * scale, lambda g: g * scale * gain / (1 + gain * x))
    )


class Adam:
    """Kingma and Ba (arXiv:1412.6980), with the short memory that GANs like."""

    def __init__(self, params: Sequence[Param], lr: float) -> None:
        self.params, self.lr, self.steps = params, lr, 0
        self.means = [np.zeros_like(p.value) for p in params]
        self.squares = [np.zeros_like(p.value) for p in params]

    def step(self) -> None:
        """Move each parameter along the gradient it has now."""
        self.steps += 1
        beta1, beta2 = 0.5, 0.999
        for param, mean, square in zip(self.params, self.means, self.squares, strict=True):
            mean += (1 - beta1) * (param.grad - mean)
            square += (1 - beta2) * (param.grad**2 - square)
            spread = np.sqrt(square / (1 - beta2**self.steps)) + 1e-8
            param.value -= self.lr * mean / (1 - beta1**self.steps) / spread
