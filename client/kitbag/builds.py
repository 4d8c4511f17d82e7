"""Builds, their events and plans as the server tells them; `json` is its own document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from kitbag.errors import Problem
from kitbag.versions import Change, Json, Package, moment, packages


class BuildState(Enum):
    """How far a build is; `ready`, `failed` and `cancelled` are final."""

    QUEUED = "queued"
    RESOLVING = "resolving"
    BUILDING = "building"
    PUSHING = "pushing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to such a build."""
        return self in (BuildState.READY, BuildState.FAILED, BuildState.CANCELLED)


class Way(Enum):
    """How an image is made: from wheels alone, or by a container engine."""

    LAYERED = "layered"
    BINDER = "binder"


class EventKind(Enum):
    """What an event of a build reports; `done` is the last one."""

    STATE = "state"
    PHASE = "phase"
    PROGRESS = "progress"
    LOG = "log"
    WARNING = "warning"
    DONE = "done"


@dataclass(frozen=True)
class Stats:
    """What a build cost; `seconds` is by phase."""

    packages: int = 0
    layers_new: int = 0
    layers_known: int = 0
    bytes_moved: int = 0
    image_bytes: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Json) -> Stats:
        return cls(
            packages=int(data.get("packages") or 0),
            layers_new=int(data.get("layers_new") or 0),
            layers_known=int(data.get("layers_known") or 0),
            bytes_moved=int(data.get("bytes_moved") or 0),
            image_bytes=int(data.get("image_bytes") or 0),
            seconds={str(k): float(v) for k, v in (data.get("seconds") or {}).items()},
        )


@dataclass(frozen=True)
class Build:
    """One run from a request to an image.

    `image` is REGISTRY/REPO@DIGEST and `version` the number it became, both None until the build is
    ready; `error` says why it failed. `json` is the server's own document.
    """

    id: str
    environment: str
    state: BuildState
    way: Way | None
    commit: str | None
    image: str | None
    digest: str | None
    version: int | None
    error: Problem | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    stats: Stats | None
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Build:
        error, stats = data.get("error"), data.get("stats")
        return cls(
            id=str(data["id"]),
            environment=str(data["environment"]),
            state=BuildState(data["state"]),
            way=Way(data["way"]) if data.get("way") else None,
            commit=data.get("commit"),
            image=data.get("image"),
            digest=data.get("digest"),
            version=data.get("version"),
            error=Problem.from_json(error) if error else None,
            created_at=moment(data.get("created_at")),
            started_at=moment(data.get("started_at")),
            ended_at=moment(data.get("ended_at")),
            stats=Stats.from_json(stats) if stats else None,
            json=data,
        )


@dataclass(frozen=True)
class Event:
    """Something that happened to a build; `seq` counts up within the build."""

    seq: int
    at: datetime | None
    kind: EventKind
    phase: str
    message: str
    data: Json
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Event:
        return cls(
            seq=int(data["seq"]),
            at=moment(data.get("at")),
            kind=EventKind(data["kind"]),
            phase=str(data.get("phase") or ""),
            message=str(data.get("message") or ""),
            data=data.get("data") or {},
            json=data,
        )


@dataclass(frozen=True)
class Plan:
    """What a build would do; sizes in bytes, packages compared with the latest version.

    Of several `images` (the server's own documents) the members beside it are about the first, but
    for layers, `bytes_to_move` and `bytes_to_download`, which are of all. `bytes_to_move` go into
    the registry, `bytes_to_fetch` from it to a node that has the latest version, and
    `bytes_to_download` from the index.
    """

    way: Way
    why: str
    files: tuple[str, ...]
    python: str | None
    base: Json
    cuda: Json
    packages: tuple[Package, ...]
    layers_known: int
    layers_new: int
    bytes_to_move: int
    bytes_to_fetch: int
    bytes_to_download: int
    image_bytes: int
    images: tuple[Json, ...]
    warnings: tuple[str, ...]
    added: tuple[Package, ...]
    removed: tuple[Package, ...]
    changed: tuple[Change, ...]
    json: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Json) -> Plan:
        layers = data.get("layers") or {}
        return cls(
            way=Way(data["way"]),
            why=str(data["why"]),
            files=tuple(data.get("files") or ()),
            python=data.get("python"),
            base=data.get("base") or {},
            cuda=data.get("cuda") or {},
            packages=packages(data.get("packages")),
            layers_known=int(layers.get("known") or 0),
            layers_new=int(layers.get("new") or 0),
            bytes_to_move=int(data.get("bytes_to_move") or 0),
            bytes_to_fetch=int(data.get("bytes_to_fetch") or 0),
            bytes_to_download=int(data.get("bytes_to_download") or 0),
            image_bytes=int(data.get("image_bytes") or 0),
            images=tuple(data.get("images") or ()),
            warnings=tuple(data.get("warnings") or ()),
            added=packages(data.get("added")),
            removed=packages(data.get("removed")),
            changed=tuple(Change.from_json(item) for item in data.get("changed") or ()),
            json=data,
        )
