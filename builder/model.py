"""The nouns of a build: immutable values that the verbs of this package turn into one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"


class Compression(StrEnum):
    """How layers of packages are packed; base layers stay as they are."""

    GZIP = "gzip"
    ZSTD = "zstd"

    @property
    def media_type(self) -> str:
        return ZSTD_LAYER_TYPE if self is Compression.ZSTD else LAYER_TYPE


class Way(StrEnum):
    """How an image is made."""

    LAYERED = "layered"
    BINDER = "binder"


class Accelerator(StrEnum):
    """What the environment computes on."""

    CPU = "cpu"
    CUDA = "cuda"
    TPU = "tpu"


@dataclass(frozen=True, slots=True)
class Platform:
    """An OCI platform, such as linux/amd64."""

    os: str = "linux"
    arch: str = "amd64"

    def __str__(self) -> str:
        return f"{self.os}/{self.arch}"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob as an OCI manifest names it; `digest` is `sha256:<hex>`."""

    media_type: str
    digest: str
    size_bytes: int

    def as_oci(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}


@dataclass(frozen=True, slots=True)
class Layer:
    """A compressed layer and the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class PythonInfo:
    """The interpreter of a base: full version such as 3.11.2, absolute path inside the image."""

    version: str
    path: str

    @property
    def minor(self) -> str:
        """Major and minor version, such as 3.11."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Base:
    """A named image to build on, pinned by digest and looked into once.

    `image` is REGISTRY/REPO@DIGEST in the store where builds find it; `layers` are in manifest
    order; `env`, `labels` and `user` come from its config; `passwd` and `group` are the texts of
    /etc/passwd and /etc/group, so that the notebook user can be added without unpacking the base;
    `glibc` is (2, 36), None for musl; `cuda` such as 12.6.3 or None.
    """

    name: str
    image: str
    digest: str
    platform: Platform
    layers: tuple[Layer, ...]
    python: PythonInfo
    glibc: tuple[int, int] | None
    env: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    passwd: str = ""
    group: str = ""
    cuda: str | None = None
    source: str = ""

    @property
    def size_bytes(self) -> int:
        """Compressed size of all layers."""
        return sum(layer.descriptor.size_bytes for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """A JSON value from which `from_json` makes an equal base."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Base:
        """The base that `to_json` described; raises KeyError or TypeError on anything else."""
        known = dict(data)
        glibc = known["glibc"]
        return cls(
            **known
            | {
                "platform": Platform(**known["platform"]),
                "layers": tuple(
                    Layer(Descriptor(**layer["descriptor"]), layer["diff_id"])
                    for layer in known["layers"]
                ),
                "python": PythonInfo(**known["python"]),
                "glibc": None if glibc is None else (int(glibc[0]), int(glibc[1])),
                "env": tuple(known["env"]),
            }
        )


class Pinned(Protocol):
    """An image of the store that something is made from; a base is one."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def image(self) -> str:
        """REGISTRY/REPO@DIGEST in the store."""

    @property
    def digest(self) -> str:
        """The digest of its manifest."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers in manifest order."""


@dataclass(frozen=True, slots=True)
class LockedSdist:
    """A source distribution: where it is and what it must hash to (`sha256` is hex)."""

    filename: str
    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LockedWheel:
    """One exact package: where its wheel is and what it must hash to (`sha256` is hex).

    A wheel that no index has was built from `sdist`, and `url` is that one's.
    """

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    size_bytes: int
    sdist: LockedSdist | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """Exact packages for one Python and platform; `text` is their pylock.toml (PEP 751)."""

    python: str
    platform: Platform
    wheels: tuple[LockedWheel, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A pushed image: `reference` is REGISTRY/REPO@DIGEST."""

    reference: str
    digest: str
    size_bytes: int
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What a running build reports: a phase begun, progress inside it, a log line, a warning."""

    kind: str
    phase: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
