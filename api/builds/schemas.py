"""Builds and their events as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from api.problems import Problem, complete
from catalog.build_models import Build, Event, EventKind
from catalog.states import BuildState


class ImageStats(BaseModel):
    """What one image of several took."""

    accelerator: str
    platform: str
    packages: int
    layers_new: int
    layers_known: int
    bytes_moved: int
    bytes_downloaded: int
    image_bytes: int


class Stats(BaseModel):
    """What a build took, all its images together; `seconds` by phase."""

    packages: int = 0
    layers_new: int = 0
    layers_known: int = 0
    bytes_moved: int = 0
    bytes_downloaded: int = 0
    image_bytes: int = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    images: list[ImageStats] = Field([], description="Each image's, where there are several.")


class BuildOut(BaseModel):
    """One run from a request to an image."""

    id: str
    environment: str
    state: BuildState
    request: Mapping[str, Any] = Field(
        description="The request as it was understood; an uploaded folder shows as its hash, and "
        "lists leave the texts of inline files out."
    )
    way: str | None
    commit: str | None
    image: str | None = Field(description="REGISTRY/REPO@DIGEST, once it is ready.")
    digest: str | None
    version: int | None
    error: Problem | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    stats: Stats | None
    events: str

    @classmethod
    def of(cls, build: Build, *, listed: bool = False) -> BuildOut:
        """The build as the API shows it."""
        return cls(
            id=build.id,
            environment=build.environment.full_name,
            state=build.state,
            request=_without_texts(build.request) if listed else build.request,
            way=build.way,
            commit=build.commit,
            image=build.image,
            digest=build.digest,
            version=build.version,
            error=None if build.error is None else complete({"build": build.id, **build.error}),
            created_at=build.created_at,
            started_at=build.started_at,
            ended_at=build.ended_at,
            stats=None if build.stats is None else Stats.model_validate(build.stats),
            events=f"/v1/builds/{build.id}/events",
        )


class BuildPage(BaseModel):
    """Builds, the newest first; `next` is the `before` of the next page."""

    items: list[BuildOut]
    next: str | None


class EventOut(BaseModel):
    """Something that a build told."""

    seq: int
    at: datetime
    kind: EventKind
    phase: str
    message: str
    data: Mapping[str, Any]

    @classmethod
    def of(cls, event: Event) -> EventOut:
        """The event as the API shows it."""
        return cls(
            seq=event.seq,
            at=event.at,
            kind=event.kind,
            phase=event.phase,
            message=event.message,
            data=event.data,
        )


class EventPage(BaseModel):
    """The events that are there."""

    items: list[EventOut]


def _without_texts(request: Mapping[str, Any]) -> Mapping[str, Any]:
    source = request.get("source") or {}
    files = source.get("files")
    if not files:
        return request
    return {**request, "source": {**source, "files": dict.fromkeys(files)}}
