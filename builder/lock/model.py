"""What a lock is made for, and how uv is run for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from packaging.markers import Environment
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags

from builder.errors import InvalidSpecError
from builder.model import Accelerator, LockedWheel, Platform
from builder.secrets import Origin, Secrets, origin_of
from builder.source import HostPolicy

DEFAULT_SEED = ("pip",)

_PYTHON = re.compile(r"3\.(\d{1,2})(\.\d{1,3})?")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# The manylinux targets that uv knows beside manylinux2014 (`uv pip compile --python-platform`).
_MANYLINUX = (28, *range(31, 41))


@dataclass(frozen=True, slots=True)
class Target:
    """The Python, C library and machine that wheels must fit.

    `python` is 3.11 or a full 3.11.4; `glibc` is the base's, None for musl. Raises InvalidSpecError
    for a Python that is not CPython 3 or a machine that wheels are not made for.
    """

    python: str = "3.11"
    glibc: tuple[int, int] | None = (2, 36)
    platform: Platform = field(default_factory=Platform)
    accelerator: Accelerator = Accelerator.CPU

    def __post_init__(self) -> None:
        if _PYTHON.fullmatch(self.python) is None:
            raise InvalidSpecError(f"'{self.python[:20]}' is no Python; give one such as 3.11.")
        if self.platform.os != "linux" or self.platform.arch not in _MACHINES:
            raise InvalidSpecError(
                f"Images are made for linux/amd64 and linux/arm64, not for {self.platform}."
            )

    @property
    def minor(self) -> str:
        """Major and minor version, such as 3.11."""
        return ".".join(self.python.split(".")[:2])

    @property
    def full(self) -> str:
        """A full version, such as 3.11.0 where only 3.11 was given."""
        return self.python if self.python.count(".") == 2 else f"{self.python}.0"

    @property
    def machine(self) -> str:
        """The machine as wheels name it, such as x86_64."""
        return _MACHINES[self.platform.arch]

    @property
    def uv_platform(self) -> str:
        """uv's name for the platform: the newest manylinux that the base's glibc is enough for."""
        if self.glibc is None:
            return f"{self.machine}-unknown-linux-musl"
        fitting = [minor for minor in _MANYLINUX if (2, minor) <= self.glibc]
        if not fitting:
            return f"{self.machine}-manylinux_2_17"
        return f"{self.machine}-manylinux_2_{fitting[-1]}"

    def tags(self) -> tuple[Tag, ...]:
        """The wheel tags that fit, best first."""
        machine = self.machine
        if self.glibc is None:
            platforms = [f"musllinux_1_{minor}_{machine}" for minor in (2, 1, 0)]
        else:
            minors = range(self.glibc[1], 4, -1) if self.glibc[0] == 2 else range(40, 4, -1)
            old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
            platforms = []
            for minor in minors:
                platforms.append(f"manylinux_2_{minor}_{machine}")
                if minor in old:
                    platforms.append(f"{old[minor]}_{machine}")
        platforms.append(f"linux_{machine}")
        version = (3, int(self.minor.split(".")[1]))
        interpreter = f"cp{version[0]}{version[1]}"
        return (
            *cpython_tags(version, [interpreter], platforms),
            *compatible_tags(version, interpreter, platforms),
        )

    def environment(self) -> Environment:
        """The values that environment markers are evaluated with."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.full,
            "python_version": self.minor,
            "sys_platform": "linux",
        }


def _never() -> bool:
    return False


class Built(Protocol):
    """Wheels that are built because no index has them: files in `folder`, by name in `locked`."""

    @property
    def folder(self) -> Path:
        """Where uv finds them."""

    @property
    def locked(self) -> Mapping[str, LockedWheel]:
        """What they are in a lock, by file name."""

    def add(self, name: str, specifier: SpecifierSet, indexes: Sequence[str]) -> bool:
        """Build the newest fitting release; whether there is one that was not there before."""


@dataclass(frozen=True, slots=True)
class UvSettings:
    """How uv is run.

    `cache_dir` is shared by all builds of a worker. `index_url` None means uv's own default. The
    indexes here may hold credentials, which reach no lock, no error, no file and no command line;
    `secrets` are those for other hosts, which need no leave of `hosts`; `user_indexes` allows
    sources to name indexes of their own, on the hosts that `hosts` allows. `index_strategy` is
    uv's, for the indexes here; `torch_cpu_index` has PyTorch's packages for CPUs. `ca_bundle` is a
    PEM file that is trusted beside nothing else. `sdists` builds packages that have no wheel.
    """

    cache_dir: Path
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    index_strategy: str = "first-index"
    torch_cpu_index: str | None = None
    user_indexes: bool = True
    hosts: HostPolicy = field(default_factory=HostPolicy)
    secrets: Secrets = field(default_factory=Secrets)
    ca_bundle: Path | None = None
    timeout_s: float = 180.0
    cancelled: Callable[[], bool] = _never
    sdists: Built | None = None

    @property
    def own_origins(self) -> frozenset[Origin]:
        """Where the operator sends uv: the indexes here and the hosts of secrets."""
        urls = (self.index_url, self.torch_cpu_index, *self.extra_index_urls)
        named = (origin_of(url) for url in urls if url)
        return frozenset(origin for origin in named if origin) | self.secrets.origins
