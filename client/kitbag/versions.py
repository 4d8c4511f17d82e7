"""Environments and their versions as the server tells them; `json` is its own document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Package:
    """An exact package; `known` says whether its layer exists already, None where nobody asked."""

    name: str
    version: str
    size_bytes: int | None = None
    known: bool | None = None

    @classmethod
    def from_json(cls, data: Json) -> Package:
        return cls(
            name=str(data["name"]),
            version=str(data["version"]),
            size_bytes=data.get("size_bytes"),
            known=data.get("known"),
        )


@dataclass(frozen=True)
class Change:
    """A package that two versions have in different versions; sizes are None where unknown."""

    name: str
    before: str
    after: str
    before_bytes: int | None = None
    after_bytes: int | None = None

    @classmethod
    def from_json(cls, data: Json) -> Change:
        return cls(
            name=str(data["name"]),
            before=str(data["before"]),
            after=str(data["after"]),
            before_bytes=data.get("before_bytes"),
            after_bytes=data.get("after_bytes"),
        )


@dataclass(frozen=True)
class Layer:
    """A layer of an image and the packages in it."""

    digest: str
    size_bytes: int
    packages: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Json) -> Layer:
        return cls(
            digest=str(data["digest"]),
            size_bytes=int(data.get("size_bytes") or 0),
            packages=tuple(
                item if isinstance(item, str) else f"{item['name']}=={item['version']}"
                for item in data.get("packages") or ()
            ),
        )


@dataclass(frozen=True)
class VersionImage:
    """An image of a version; `reference` is what its accelerator stands for: an index if it is for
    several platforms, else the image itself."""

    accelerator: str
    platform: str
    image: str
    digest: str
    reference: str
    base: str | None
    packages: int
    size_bytes: int

    @classmethod
    def from_json(cls, data: Json) -> VersionImage:
        return cls(
            accelerator=str(data["accelerator"]),
            platform=str(data["platform"]),
            image=str(data["image"]),
            digest=str(data["digest"]),
            reference=str(data.get("reference") or data["image"]),
            base=data.get("base"),
            packages=int(data.get("packages") or 0),
            size_bytes=int(data.get("size_bytes") or 0),
        )


@dataclass(frozen=True)
class Version:
    """An immutable result of an environment.

    Of several `images` the other members are about the first, the default, but for `image` and
    `digest`: of one for several platforms these are the index. `packages_list`, `layers` and `lock`
    (a pylock.toml) are filled by `Client.version` alone; lists of versions leave them empty.
    """

    environment: str
    number: int
    image: str
    digest: str
    commit: str | None
    refs: tuple[str, ...]
    python: str | None
    accelerator: str | None
    base: str | None
    packages: int
    size_bytes: int
    build: str | None
    created_at: datetime | None
    images: tuple[VersionImage, ...] = field(default=(), repr=False)
    lock: str = field(default="", repr=False)
    packages_list: tuple[Package, ...] = field(default=(), repr=False)
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """NS/NAME:NUMBER."""
        return f"{self.environment}:{self.number}"

    @classmethod
    def from_json(cls, data: Json) -> Version:
        base = data.get("base")
        return cls(
            environment=str(data["environment"]),
            number=int(data["number"]),
            image=str(data["image"]),
            digest=str(data["digest"]),
            commit=data.get("commit"),
            refs=tuple(data.get("refs") or ()),
            python=data.get("python"),
            accelerator=data.get("accelerator"),
            base=base.get("name") if isinstance(base, dict) else base,
            packages=int(data.get("packages") or 0),
            size_bytes=int(data.get("size_bytes") or 0),
            build=data.get("build"),
            created_at=moment(data.get("created_at")),
            images=tuple(VersionImage.from_json(item) for item in data.get("images") or ()),
            lock=str(data.get("lock") or ""),
            packages_list=packages(data.get("packages_list")),
            layers=tuple(Layer.from_json(item) for item in data.get("layers") or ()),
            json=data,
        )


@dataclass(frozen=True)
class Environment:
    """A named line of versions; `latest` is None before the first."""

    name: str
    description: str
    latest: Version | None
    versions: int
    created_at: datetime | None
    updated_at: datetime | None
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Environment:
        latest = data.get("latest")
        return cls(
            name=str(data["name"]),
            description=str(data.get("description") or ""),
            latest=Version.from_json(latest) if latest else None,
            versions=int(data.get("versions") or 0),
            created_at=moment(data.get("created_at")),
            updated_at=moment(data.get("updated_at")),
            json=data,
        )


@dataclass(frozen=True)
class Diff:
    """What changed between two versions; `base` is (before, after), None if it is the same.

    `layers_new` are those that a node which has the first still fetches for the second.
    """

    added: tuple[Package, ...]
    removed: tuple[Package, ...]
    changed: tuple[Change, ...]
    base: tuple[str, str] | None
    layers_shared: int
    layers_new: tuple[Layer, ...]
    bytes_to_move: int
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Diff:
        base = data.get("base")
        return cls(
            added=packages(data.get("added")),
            removed=packages(data.get("removed")),
            changed=tuple(Change.from_json(item) for item in data.get("changed") or ()),
            base=(str(base["before"]), str(base["after"])) if base else None,
            layers_shared=int(data.get("layers_shared") or 0),
            layers_new=tuple(Layer.from_json(item) for item in data.get("layers_new") or ()),
            bytes_to_move=int(data.get("bytes_to_move") or 0),
            json=data,
        )


@dataclass(frozen=True)
class Resolved:
    """The image that an environment's name stands for at this moment.

    `images` are those for each accelerator that the version has, the default first; `pull_secret`
    names the secret with which the target's cluster pulls them, if it needs one.
    """

    environment: str
    version: int
    image: str
    digest: str
    images: Mapping[str, str] = field(default_factory=dict)
    pull_secret: str | None = None
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Resolved:
        return cls(
            environment=str(data["environment"]),
            version=int(data["version"]),
            image=str(data["image"]),
            digest=str(data["digest"]),
            images={str(key): str(value) for key, value in (data.get("images") or {}).items()},
            pull_secret=data.get("pull_secret"),
            json=data,
        )


def packages(items: Any) -> tuple[Package, ...]:  # noqa: ANN401 - a value out of JSON
    """The packages of a JSON list; none where there is no list."""
    return tuple(Package.from_json(item) for item in items or ())


def moment(text: str | None) -> datetime | None:
    """A point in time from RFC 3339 text."""
    # Python 3.10's fromisoformat doesn't know the Z that RFC 3339 ends UTC with.
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
