"""Pins as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from kitbag.specs import Change


class PinRequest(BaseModel):
    """A manifest and what to pin in it; with neither `environment` nor `image` only its `kitbag://`
    references and annotations."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="The manifest: YAML, JSON or a notebook.")
    filename: str | None = Field(None, max_length=1024, description="Named in errors.")
    environment: str | None = Field(None, max_length=400, description="NAMESPACE/NAME[:VERSION]")
    image: str | None = Field(None, max_length=1024, description="An image reference.")
    container: str | None = Field(None, max_length=253, description="The user's container.")


class PinnedImage(BaseModel):
    """One image that was changed; `line` counts from 1 in the text that was sent."""

    kind: str
    name: str
    path: str
    line: int
    before: str | None
    after: str

    @classmethod
    def of(cls, change: Change) -> PinnedImage:
        """The change as the API shows it."""
        return cls(
            kind=change.kind,
            name=change.name,
            path=change.path,
            line=change.line,
            before=change.before,
            after=change.after,
        )


class Pinned(BaseModel):
    """The pinned text; `notes` are sentences about what was left alone, and why."""

    text: str
    changes: list[PinnedImage]
    notes: list[str]
