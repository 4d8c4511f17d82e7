"""Verifications and rebases as JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.text import Text

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"


class State(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Verify(BaseModel):
    """Which version to build again."""

    model_config = ConfigDict(extra="forbid")

    version: Text = Field(min_length=3, max_length=400, description="NAMESPACE/NAME[:VERSION].")


class Rebase(BaseModel):
    """Which environments go from which base to which."""

    model_config = ConfigDict(extra="forbid")

    old: Text = Field(min_length=1, max_length=255, description="A base's name or digest.")
    new: Text = Field(min_length=1, max_length=255, description="A base's name or digest.")
    environments: str = Field(
        "*", pattern=rf"^(?:\*|{_NAME}/(?:\*|{_NAME}))$", description="NS/NAME, NS/* or *."
    )
    dry_run: bool = False


class Job(BaseModel):
    """A job as it is now; `progress` is {"done", "total"} or a build's last message."""

    id: str
    state: State
    progress: dict[str, Any]
    problem: dict[str, Any] | None = Field(description="RFC 9457; only of a failed job.")


class FileDifference(BaseModel):
    """A layer that came out otherwise; null where one of the images has no such layer."""

    number: int
    holds: str
    stored: str | None
    rebuilt: str | None
    files: list[str]


class ImageVerdict(BaseModel):
    """Whether a build from an image's lock, with nothing made before, gives its digest."""

    accelerator: str
    platform: str
    compiler: str | None = Field(description="The CPython that compiled it; null: no bytecode.")
    equal: bool
    stored: str
    rebuilt: str
    layers: list[FileDifference]
    lost: list[str] = Field([], description="Digests of layers that the registry lost.")


class Verdict(BaseModel):
    """Whether all images of a version are what their locks give.

    What isn't in `images` is about the first one that differs, or else about the first.
    """

    environment: str
    version: int
    compiler: str | None = Field(description="The CPython that compiled it; null: no bytecode.")
    equal: bool
    stored: str
    rebuilt: str
    layers: list[FileDifference]
    lost: list[str] = Field([], description="Digests of layers that the registry lost.")
    images: list[ImageVerdict] = []


class Verification(Job):
    """A version that is built again."""

    result: Verdict | None


class Outcome(StrEnum):
    """What became of an environment."""

    REBASED = "rebased"
    WOULD_REBASE = "would-rebase"
    REFUSED = "refused"
    MOVED = "moved"


class Item(BaseModel):
    """An environment of a rebase; `version` is the one it had."""

    environment: str
    version: int
    state: Outcome
    number: int | None = None
    image: str | None = None
    reason: str | None = None


class NewBase(BaseModel):
    """The base that versions go to."""

    name: str
    digest: str


class Moves(BaseModel):
    """What became of each environment, by name."""

    old: str
    new: NewBase
    dry_run: bool
    items: list[Item]


class Rebasing(Job):
    """Environments that go to another base."""

    result: Moves | None
