"""Health as JSON."""

from __future__ import annotations

from pydantic import BaseModel


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
