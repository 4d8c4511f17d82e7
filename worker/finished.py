"""What a build is between its steps: prepared, then finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder import cuda
from builder.detect import Detected
from builder.model import Accelerator, Base, Lock
from builder.sdists.sdists import Sdists
from builder.source import Checkout
from catalog.versions import VersionFacts


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request resolved: everything that decides an image of it."""

    checkout: Checkout
    detected: Detected
    base: Base
    lock: Lock
    before: Lock | None
    """The lock of that image of the environment's latest version, or None for a new one."""
    cuda: cuda.Cuda | None = None
    """What it needs of NVIDIA's GPUs, if it was asked to run on them."""
    left: tuple[str, ...] = ()
    """Lines that pip has to build in a container."""
    sdists: Sdists | None = None
    """What builds packages that have no wheel, if there is a container engine."""
    accelerator: Accelerator = Accelerator.CPU


@dataclass(frozen=True, slots=True)
class Finished:
    """What a build came to."""

    facts: VersionFacts
    way: str
    stats: Mapping[str, Any]
