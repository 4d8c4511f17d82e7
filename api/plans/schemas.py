"""A plan as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.environments.schemas import Package, PackageChange


class PlannedBase(BaseModel):
    """The base that would be built on."""

    name: str
    image: str
    digest: str


class PlannedPackage(BaseModel):
    """An exact package; `known` says whether its layer was made before."""

    name: str
    version: str
    size_bytes: int
    known: bool


class PlannedLayers(BaseModel):
    """How many layers were made before, and how many are new."""

    known: int
    new: int


class PlannedCuda(BaseModel):
    """What the environment needs of NVIDIA's GPUs; null for what its packages don't say."""

    version: str | None = Field(description="The highest CUDA of its packages, such as 12.4.")
    cudnn: str | None
    driver: str | None = Field(description="The lowest driver that NVIDIA's table allows.")
    affinity: dict[str, Any] | None = Field(
        description="A nodeSelectorTerm of Kubernetes: nodes with such a driver."
    )


class PlannedImage(BaseModel):
    """An image that would be built; `bytes_to_fetch` by a node that has the latest version's, or
    nothing."""

    accelerator: str
    platform: str
    python: str | None
    base: PlannedBase | None
    cuda: PlannedCuda | None = Field(None, description="For `cuda` alone.")
    packages: list[PlannedPackage]
    layers: PlannedLayers
    bytes_to_move: int
    bytes_to_fetch: int
    bytes_to_download: int
    image_bytes: int


class WorkerPlan(BaseModel):
    """What a worker answers: of several images the first, and what is to do for all of them."""

    way: str = Field(description="`layered` or `binder`.")
    why: str = Field(description="One sentence: why this way.")
    files: list[str]
    python: str | None
    base: PlannedBase | None
    cuda: PlannedCuda | None = Field(None, description="For `cuda` alone.")
    packages: list[PlannedPackage]
    layers: PlannedLayers
    bytes_to_move: int
    bytes_to_fetch: int = Field(
        description="What a node that has the environment's latest version (or, of a new one, "
        "nothing) fetches before the image starts there."
    )
    bytes_to_download: int
    image_bytes: int
    images: list[PlannedImage] = Field(
        [], description="One for each accelerator and platform; shared layers count for the first."
    )
    warnings: list[str] = Field(default_factory=list)


class Plan(WorkerPlan):
    """What would be built, compared with the environment's latest version."""

    added: list[Package]
    removed: list[Package]
    changed: list[PackageChange]
