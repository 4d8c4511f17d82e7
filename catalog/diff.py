"""What differs between two versions; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.models import Json, Version


@dataclass(frozen=True, slots=True)
class Change:
    """A package whose version is not the same."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class PackageDiff:
    """Packages by name: those only in the second list, only in the first, and in other versions."""

    added: Sequence[Json]
    removed: Sequence[Json]
    changed: Sequence[Change]


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What changes from one version to another.

    `base` holds both base digests if they differ; `bytes_to_move` is the size of the layers that a
    node which has the first still lacks for the second.
    """

    packages: PackageDiff
    base: tuple[str, str] | None
    layers_shared: int
    bytes_to_move: int


def packages(before: Sequence[Json], after: Sequence[Json]) -> PackageDiff:
    """Compare lists of {"name", "version", …} by name; the results are sorted by name."""
    old = {str(package["name"]): package for package in before}
    new = {str(package["name"]): package for package in after}
    return PackageDiff(
        added=[new[name] for name in sorted(new.keys() - old.keys())],
        removed=[old[name] for name in sorted(old.keys() - new.keys())],
        changed=[
            Change(name, str(old[name]["version"]), str(new[name]["version"]))
            for name in sorted(old.keys() & new.keys())
            if old[name]["version"] != new[name]["version"]
        ],
    )


def versions(before: Version, after: Version) -> VersionDiff:
    """Compare two versions that were loaded whole."""
    had = {str(layer["digest"]) for layer in before.layers}
    lacking = [layer for layer in after.layers if layer["digest"] not in had]
    same_base = before.base_digest == after.base_digest
    return VersionDiff(
        packages=packages(before.packages, after.packages),
        base=None if same_base else (before.base_digest, after.base_digest),
        layers_shared=len(after.layers) - len(lacking),
        bytes_to_move=sum(int(layer["size_bytes"]) for layer in lacking),
    )
