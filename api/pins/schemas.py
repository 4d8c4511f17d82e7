"""Pins as JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from kitbag.specs import Change, PullPolicy

SecretName = Annotated[
    str,
    StringConstraints(
        max_length=253,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    ),
]


class PinRequest(BaseModel):
    """A manifest and what to pin in it; with neither `environment` nor `image` only its `kitbag://`
    references and annotations."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="The manifest: YAML, JSON or a notebook.")
    filename: str | None = Field(None, max_length=1024, description="Named in errors.")
    environment: str | None = Field(None, max_length=400, description="NAMESPACE/NAME[:VERSION]")
    image: str | None = Field(None, max_length=1024, description="An image reference.")
    container: str | None = Field(None, max_length=253, description="The user's container.")
    accelerator: str | None = Field(
        None,
        max_length=16,
        description="Of several images that for this; by default each container's resources say.",
    )
    target: str | None = Field(
        None,
        min_length=1,
        max_length=63,
        description="The target that pulls it; what it needs to pull is added. Here by default.",
    )
    pull_secrets: list[SecretName] = Field(
        default_factory=list, max_length=20, description="Added where the image is pulled."
    )
    pull_policy: PullPolicy | None = Field(None, description="Set beside the image.")


class PinnedImage(BaseModel):
    """One value that was changed; `line` counts from 1 in the text that was sent."""

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
