"""What a lock says about CUDA: its version, cuDNN, the lowest driver, and where packages clash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from builder.errors import ConfigConflictError
from builder.model import Accelerator, Lock, LockedWheel

DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580"}
"""The lowest Linux driver for each major release of CUDA, whatever the minor.

NVIDIA, "CUDA Compatibility", minor version compatibility, table 1
(docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html) and table 2 of the CUDA
toolkit's release notes.
"""

_MAJORS = range(9, 100)
_SUFFIX = re.compile(r"-cu(?:da)?(\d\d)(\d?)x?(?=-|$)")
_LOCAL = re.compile(r"cu(?:da)?(\d\d)\.?(\d?)(?=\.|$)")
_LIBRARY = re.compile(r"nvidia-(.+?)(?:-cu(\d\d))?")
_EXACT = re.compile(r"nvidia-cuda-runtime(?:-cu\d+)?|cuda-toolkit")
# Libraries that bring their own CUDA runtime, or none: XGBoost brings NCCL for 12 to any torch.
_NEUTRAL = ("nvidia-nccl", "nvidia-nvshmem", "nvidia-cusparselt", "nvidia-ml-py")
# Libraries whose version is that of CUDA where their name has no suffix, as of CUDA 13.
_TOOLKIT = re.compile(r"nvidia-(?:cuda-(?:runtime|nvrtc|cupti|nvcc|cccl)|nvtx|nvjitlink)")
_BUILT_FOR = {
    "tensorflow": ((Version("2.15"), 12), (Version("2.14"), 11)),
    "torch": ((Version("2.11"), 13), (Version("2.1"), 12), (Version("1.13"), 11)),
}
"""The major of CUDA that the releases on PyPI ask for, from the newest change to the oldest: what
their metadata says. It names who brought a library, and counts only where that is in the lock."""


@dataclass(frozen=True, slots=True)
class Cuda:
    """What an environment needs of a machine with NVIDIA's GPUs.

    `version` is the highest CUDA of its packages, such as 12.4, None if none of them says; `cudnn`
    such as 9.1.0.70 or None; `driver` the lowest driver, None for a CUDA that the table doesn't
    have; `folders` hold its libraries, below site-packages.
    """

    version: str | None = None
    cudnn: str | None = None
    driver: str | None = None
    folders: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that NVIDIA's container runtime reads.

        NVIDIA_REQUIRE_CUDA names alternatives: a driver made for this CUDA or a later one, or any
        that minor version compatibility allows. Without it the runtime would refuse CUDA 12.4 on a
        driver that came with 12.0.
        """
        known = {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        }
        if self.version is None:
            return known
        demands = [f"cuda>={self.version}"]
        if self.driver_major is not None:
            demands.append(f"driver>={self.driver_major}")
        return known | {"NVIDIA_REQUIRE_CUDA": " ".join(demands)}

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        known = {
            "accelerator": str(Accelerator.CUDA),
            "cuda": self.version,
            "cudnn": self.cudnn,
            "cuda-driver": self.driver,
        }
        return {f"kitbag.dev/{key}": value for key, value in known.items() if value}

    @property
    def driver_major(self) -> int | None:
        """The lowest driver's first number, such as 525."""
        return int(self.driver.split(".")[0]) if self.driver else None

    @property
    def affinity(self) -> dict[str, Any] | None:
        """The node selector term that finds nodes with such a driver.

        NVIDIA's GPU feature discovery sets the label on every node with a GPU.
        """
        if self.driver_major is None:
            return None
        below = str(self.driver_major - 1)
        rule = {"key": "nvidia.com/cuda.driver.major", "operator": "Gt", "values": [below]}
        return {"matchExpressions": [rule]}

    def as_json(self) -> dict[str, Any]:
        """What a plan shows."""
        return {
            "version": self.version,
            "cudnn": self.cudnn,
            "driver": self.driver,
            "affinity": self.affinity,
        }


@dataclass(frozen=True, slots=True)
class _Said:
    """What one package says about CUDA; the most telling rank first."""

    rank: int
    name: str
    version: str
    major: int
    minor: int | None


def of(lock: Lock, accelerator: str) -> Cuda | None:
    """What the lock needs of CUDA; None where CUDA isn't asked for.

    Raises ConfigConflictError for packages of two majors of CUDA, whose libraries would overwrite
    or unload each other.
    """
    if accelerator != Accelerator.CUDA:
        return None
    said = sorted(_said(lock.wheels), key=lambda each: (each.rank, each.name))
    if not said:
        return Cuda()
    first = said[0]
    other = next((each for each in said if each.major != first.major), None)
    if other is not None:
        raise ConfigConflictError(
            f"{_named(first)} and {_named(other)} clash: one environment holds one major release "
            "of CUDA; choose versions that are made for the same one, or two environments.",
            package=other.name,
        )
    minor = max((each.minor for each in said if each.minor is not None), default=0)
    cudnn = next((each.version for each in lock.wheels if _is_cudnn(each.name)), None)
    return Cuda(
        version=f"{first.major}.{minor}",
        cudnn=cudnn,
        driver=DRIVERS.get(first.major),
        folders=tuple(sorted({folder for each in lock.wheels for folder in _folders(each)})),
    )


def weight_bytes(lock: Lock) -> int:
    """How much of the lock is there for CUDA alone: the wheels of NVIDIA's libraries."""
    return sum(wheel.size_bytes for wheel in lock.wheels if _is_library(wheel.name))


def _named(said: _Said) -> str:
    minor = "" if said.minor is None else f".{said.minor}"
    return f"{said.name} {said.version} (CUDA {said.major}{minor})"


def _is_library(name: str) -> bool:
    return name.startswith("nvidia-") and not name.startswith("nvidia-ml-py")


def _is_cudnn(name: str) -> bool:
    return re.fullmatch(r"nvidia-cudnn-cu\d+", name) is not None


def _said(wheels: Sequence[LockedWheel]) -> Iterator[_Said]:
    """What the packages say: frameworks, then the CUDA runtime, then all other libraries."""
    runtimes: set[int] = set()
    for wheel in wheels:
        if wheel.name.startswith(_NEUTRAL):
            continue
        numbers = _numbers(wheel.name, wheel.version)
        if numbers is None:
            continue
        exact = _EXACT.fullmatch(wheel.name) is not None
        if exact:
            runtimes.add(numbers[0])
        rank = 1 if exact else 2 if wheel.name.startswith(("nvidia-", "cuda-")) else 0
        yield _Said(rank, wheel.name, wheel.version, *numbers)
    for wheel in wheels:
        if wheel.name in _BUILT_FOR and "+" not in wheel.version:
            major = _built_for(wheel.name, wheel.version)
            if major in runtimes:
                yield _Said(0, wheel.name, wheel.version, major, None)


def _numbers(name: str, text: str) -> tuple[int, int | None] | None:
    """Major and minor of CUDA that a package is for; None if it doesn't say."""
    try:
        version = Version(text)
    except InvalidVersion:
        return None
    if _EXACT.fullmatch(name) and version.major in _MAJORS:
        return version.major, version.minor
    if version.local and (local := _LOCAL.search(version.local)):
        return int(local[1]), int(local[2]) if local[2] else None
    if suffix := _SUFFIX.search(name):
        return int(suffix[1]), int(suffix[2]) if suffix[2] else None
    if _TOOLKIT.fullmatch(name) and version.major in _MAJORS:
        return version.major, None
    return None


def _built_for(name: str, text: str) -> int | None:
    return next((major for low, major in _BUILT_FOR[name] if Version(text) >= low), None)


def _folders(wheel: LockedWheel) -> Iterator[str]:
    """Where one of NVIDIA's wheels has its libraries, below site-packages.

    Each had a folder of its own up to CUDA 12; from 13 on those without a suffix share one.
    """
    match = _LIBRARY.fullmatch(wheel.name)
    if match is None or not _is_library(wheel.name):
        return
    if match[2]:
        yield f"nvidia/{match[1].replace('-', '_')}/lib"
    else:
        major = 13 if not _TOOLKIT.fullmatch(wheel.name) else Version(wheel.version).major
        yield f"nvidia/cu{major}/lib"
