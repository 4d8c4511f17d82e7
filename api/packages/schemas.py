"""Holders of packages as JSON."""

from __future__ import annotations

from pydantic import BaseModel, Field

from catalog.holders import Holder


class HolderOut(BaseModel):
    """A version that holds the package."""

    environment: str
    version: int
    image: str
    releases: list[str] = Field(description="Those of the package that its images hold.")

    @classmethod
    def of(cls, holder: Holder) -> HolderOut:
        """The holder as the API shows it."""
        return cls(
            environment=holder.environment,
            version=holder.number,
            image=holder.image,
            releases=list(holder.releases),
        )


class HolderPage(BaseModel):
    """Versions by environment, the newest first; `next` is the `after` of the next page."""

    requirement: str
    total: int = Field(description="How many versions hold it, all pages together.")
    items: list[HolderOut]
    next: str | None
