"""Health as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Part(BaseModel):
    """One part that the service needs; `detail` says what is wrong with it, empty if nothing."""

    ok: bool
    detail: str = ""


class Readiness(BaseModel):
    """Whether the service can take builds, part by part."""

    ready: bool
    catalog: Part
    queue: Part
    workers: Part


class WorkerOut(BaseModel):
    """A worker that lately said that it lives."""

    name: str = Field(description="HOST:PID.")
    release: str
    queues: list[str] = Field(description="The lanes and other queues that it takes from.")
    concurrency: int = Field(description="How much it does at the same time.")
    engine: str = Field(description="docker, buildkit, podman, or none.")
    engine_problem: str = Field("", description="What is wrong with it, empty while it answers.")
    started_at: datetime
    seen_at: datetime


class LaneOut(BaseModel):
    """Builds that wait in a lane; `oldest_s` is how long the oldest of them has."""

    name: str
    waiting: int
    oldest_s: float


class Status(BaseModel):
    """How the whole service is."""

    release: str
    ready: bool
    catalog: Part
    queue: Part
    engines: Part = Field(
        description="Whether all engines answer, and no build waits for one that no worker has."
    )
    workers: list[WorkerOut]
    lanes: list[LaneOut]
    running: int = Field(description="Builds that are worked on.")
