"""Copies at targets as JSON."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from catalog.target_models import Mirror, MirrorState


class MirrorOut(BaseModel):
    """How far the copy of a version in a target's registry is."""

    target: str
    registry: str = Field(description="HOST[/PREFIX], with which its references begin.")
    state: MirrorState
    problem: str = Field(description="Why the last try failed; it is tried again.")
    tries: int = Field(description="How many failed.")
    copied_bytes: int = Field(description="What was moved so far; the rest was there.")
    due_at: datetime | None = Field(description="When it is tried next, while it waits.")
    done_at: datetime | None

    @classmethod
    def of(cls, mirror: Mirror) -> MirrorOut:
        """The copy as the API shows it."""
        return cls(
            target=mirror.target.name,
            registry=mirror.target.prefix,
            state=mirror.state,
            problem=mirror.problem,
            tries=mirror.tries,
            copied_bytes=mirror.copied_bytes,
            due_at=mirror.due_at if mirror.state is MirrorState.PENDING else None,
            done_at=mirror.done_at,
        )
