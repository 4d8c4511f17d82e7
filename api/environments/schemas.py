"""Environments and versions as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.problems.model import Problem
from api.targets.schemas import MirrorOut
from api.text import Text
from catalog import versions
from catalog.diff import Change, ImageDiff
from catalog.mirrors import Near
from catalog.models import Environment, Version, VersionImage
from catalog.target_models import Mirror


class ImageOut(BaseModel):
    """One image of a version."""

    accelerator: str
    platform: str
    image: str = Field(description="REGISTRY/REPO@DIGEST of this platform's image.")
    digest: str
    reference: str = Field(
        description="What its accelerator stands for: the index, if it is for several platforms."
    )
    base: str
    packages: int = Field(description="How many.")
    size_bytes: int

    @classmethod
    def of(cls, image: VersionImage) -> ImageOut:
        """The image as the API shows it."""
        return cls(
            accelerator=image.accelerator,
            platform=image.platform,
            image=image.image,
            digest=image.digest,
            reference=image.reference,
            base=image.base_name,
            packages=image.package_count,
            size_bytes=image.size_bytes,
        )


class VersionOut(BaseModel):
    """An immutable build result of an environment; what isn't in `images` is about the first."""

    environment: str
    number: int
    image: str = Field(
        description="REGISTRY/REPO@DIGEST: of the image, or of the index of one for each platform."
    )
    digest: str
    commit: str | None
    refs: list[str] = Field(description="The branches whose newest version this is.")
    python: str
    accelerator: str
    base: str
    packages: int = Field(description="How many.")
    size_bytes: int = Field(description="The compressed image.")
    build: str
    rebased_from: int | None = Field(description="The version whose packages it took over.")
    images: list[ImageOut] = Field(
        description="One for each accelerator and platform that was asked for, the default first."
    )
    created_at: datetime

    @classmethod
    def of(cls, version: Version) -> VersionOut:
        """The version as lists show it."""
        return cls(**_facts(version))


class Package(BaseModel):
    """An exact package."""

    name: str
    version: str
    size_bytes: int | None = None


class Layer(BaseModel):
    """A layer of the image, and the names of the packages in it."""

    digest: str
    size_bytes: int
    packages: list[str]


class WholeVersion(VersionOut):
    """A version with what is in one of its images, the first unless another was asked for."""

    lock: str | None = Field(description="The pylock.toml (PEP 751) it was made from.")
    packages_list: list[Package]
    layers: list[Layer]
    mirrors: list[MirrorOut] = Field(description="The copies of it at targets.")

    @classmethod
    def whole(
        cls,
        version: Version,
        image: VersionImage,
        lock: str | None,
        mirrors: Sequence[Mirror] = (),
    ) -> WholeVersion:
        """The version, loaded whole, and one of its images as its own page shows it."""
        return cls(
            **_facts(version),
            lock=lock,
            packages_list=[Package.model_validate(item) for item in image.packages],
            layers=[Layer.model_validate(item) for item in image.layers],
            mirrors=[MirrorOut.of(mirror) for mirror in mirrors],
        )


class VersionPage(BaseModel):
    """Versions, the newest first; `next` is the `before` of the next page."""

    items: list[VersionOut]
    next: int | None


class EnvironmentOut(BaseModel):
    """A named line of versions."""

    name: str = Field(description="NAMESPACE/NAME.")
    description: str
    latest: VersionOut | None
    versions: int
    offered: bool = Field(description="Whether its newest version is offered by the launcher.")
    expires_at: datetime | None = Field(
        description="When its names stand for nothing any more; null: never."
    )
    expired: bool = Field(description="Whether they do so already.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, environment: Environment, latest: Version | None) -> EnvironmentOut:
        """The environment as the API shows it."""
        return cls(
            name=environment.full_name,
            description=environment.description,
            latest=None if latest is None else VersionOut.of(latest),
            versions=environment.last_version,
            offered=environment.offered,
            expires_at=environment.expires_at,
            expired=environment.expired,
            created_at=environment.created_at,
            updated_at=environment.updated_at,
        )


class EnvironmentPage(BaseModel):
    """Environments by name; `next` is the `after` of the next page."""

    items: list[EnvironmentOut]
    next: str | None


class PackageChange(BaseModel):
    """A package in two versions, and the sizes of their wheels where they are known."""

    name: str
    before: str
    after: str
    before_bytes: int | None
    after_bytes: int | None

    @classmethod
    def of(cls, change: Change) -> PackageChange:
        """The change as the API shows it."""
        return cls(
            name=change.name,
            before=change.before,
            after=change.after,
            before_bytes=change.before_bytes or None,
            after_bytes=change.after_bytes or None,
        )


class BaseChange(BaseModel):
    """The digests of two bases."""

    before: str
    after: str


class DiffOut(BaseModel):
    """What changes from one version to another; `base` is null if it stays."""

    added: list[Package]
    removed: list[Package]
    changed: list[PackageChange]
    base: BaseChange | None
    layers_shared: int
    layers_new: list[Layer] = Field(description="What a node that has the first still fetches.")
    bytes_to_move: int

    @classmethod
    def of(cls, found: ImageDiff) -> DiffOut:
        """The difference as the API shows it."""
        base = found.base
        return cls(
            added=[Package.model_validate(package) for package in found.packages.added],
            removed=[Package.model_validate(package) for package in found.packages.removed],
            changed=[PackageChange.of(change) for change in found.packages.changed],
            base=None if base is None else BaseChange(before=base[0], after=base[1]),
            layers_shared=found.layers_shared,
            layers_new=[Layer.model_validate(layer) for layer in found.layers_new],
            bytes_to_move=found.bytes_to_move,
        )


class EnvironmentChange(BaseModel):
    """What is to change of an environment."""

    model_config = ConfigDict(extra="forbid")

    offered: bool = Field(description="Offer its newest version where notebooks start.")


class Rollback(BaseModel):
    """Which version to go back to."""

    model_config = ConfigDict(extra="forbid")

    to: Text = Field(
        min_length=1, max_length=255, description="A number, `latest`, a commit or a branch."
    )


class Resolved(BaseModel):
    """The image that a name stands for at this moment."""

    environment: str
    version: int
    accelerator: str
    image: str
    digest: str
    images: dict[str, str] = Field(
        description="What the version holds for each accelerator, the default first."
    )
    target: str | None = Field(None, description="Where the images are pulled from, if asked for.")
    pull_secret: str | None = Field(None, description="With which that target's cluster pulls.")

    @classmethod
    def of(cls, version: Version, accelerator: str | None) -> Resolved:
        """The answer for an accelerator or the default; raises ImageNotFoundError."""
        found = versions.image_of(version, accelerator)
        return cls(
            environment=version.environment.full_name,
            version=version.number,
            accelerator=found.accelerator,
            image=found.reference,
            digest=found.index_digest or found.digest,
            images=versions.references(version),
        )

    @classmethod
    def near(cls, near: Near, accelerator: str | None) -> Resolved:
        """The answer at a target: the same digests; raises ImageNotFoundError."""
        wanted = accelerator or next(iter(near.references))
        versions.image_of(near.version, wanted)
        image = near.references[wanted]
        return cls(
            environment=near.version.environment.full_name,
            version=near.version.number,
            accelerator=wanted,
            image=image,
            digest=image.rpartition("@")[2],
            images=near.references,
            target=near.target.name,
            pull_secret=near.target.pull_secret,
        )


class ResolveMany(BaseModel):
    """Names to resolve at once."""

    model_config = ConfigDict(extra="forbid")

    names: list[Annotated[str, Field(min_length=1, max_length=400)]] = Field(
        min_length=1, max_length=100, description="NAMESPACE/NAME[:VERSION] each."
    )
    accelerator: str | None = Field(
        None, min_length=1, max_length=16, description="Of several images, the one for this."
    )
    target: str | None = Field(
        None, min_length=1, max_length=63, description="The target that pulls it; here by default."
    )


class ResolvedName(BaseModel):
    """What one name of several stands for, or why for nothing: one of the two is null."""

    name: str
    resolved: Resolved | None = None
    problem: Problem | None = None


class ResolvedMany(BaseModel):
    """An item for each name, in the order in which they were given."""

    items: list[ResolvedName]


def _facts(version: Version) -> dict[str, Any]:
    return {
        "environment": version.environment.full_name,
        "number": version.number,
        "image": version.image,
        "digest": version.digest,
        "commit": version.commit,
        "refs": [ref.name for ref in version.refs],
        "python": version.python,
        "accelerator": version.accelerator,
        "base": version.base_name,
        "packages": version.package_count,
        "size_bytes": version.size_bytes,
        "build": version.build_id,
        "rebased_from": version.rebased_from,
        "images": [ImageOut.of(image) for image in version.images],
        "created_at": version.created_at,
    }
