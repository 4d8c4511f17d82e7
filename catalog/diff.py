"""What differs between two images of versions; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.models import Json, VersionImage


@dataclass(frozen=True, slots=True)
class Change:
    """A package whose version is not the same; sizes are the wheels', None where unknown."""

    name: str
    before: str
    after: str
    before_bytes: int | None = None
    after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PackageDiff:
    """Packages by name: those only in the second list, only in the first, and in other versions."""

    added: Sequence[Json]
    removed: Sequence[Json]
    changed: Sequence[Change]


@dataclass(frozen=True, slots=True)
class ImageDiff:
    """What changes from one image to another.

    `base` holds both base digests if they differ; `layers_new` are those of the second that a node
    which has the first still lacks, `bytes_to_move` is their size.
    """

    packages: PackageDiff
    base: tuple[str, str] | None
    layers_shared: int
    layers_new: Sequence[Json]
    bytes_to_move: int


def packages(before: Sequence[Json], after: Sequence[Json]) -> PackageDiff:
    """Compare lists of {"name", "version", …} by name; the results are sorted by name."""
    old = {str(package["name"]): package for package in before}
    new = {str(package["name"]): package for package in after}
    return PackageDiff(
        added=[new[name] for name in sorted(new.keys() - old.keys())],
        removed=[old[name] for name in sorted(old.keys() - new.keys())],
        changed=[
            Change(
                name,
                before=str(old[name]["version"]),
                after=str(new[name]["version"]),
                before_bytes=old[name].get("size_bytes"),
                after_bytes=new[name].get("size_bytes"),
            )
            for name in sorted(old.keys() & new.keys())
            if old[name]["version"] != new[name]["version"]
        ],
    )


def images(before: VersionImage, after: VersionImage) -> ImageDiff:
    """Compare images of two versions that were loaded whole."""
    had = {str(layer["digest"]) for layer in before.layers}
    lacking = [layer for layer in after.layers if layer["digest"] not in had]
    same_base = before.base_digest == after.base_digest
    return ImageDiff(
        packages=packages(before.packages, after.packages),
        base=None if same_base else (before.base_digest, after.base_digest),
        layers_shared=len(after.layers) - len(lacking),
        layers_new=lacking,
        bytes_to_move=sum(int(layer["size_bytes"]) for layer in lacking),
    )
