"""A build request as the API committed it, read back into the builder's nouns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from builder.choices import Choices, IndexStrategy
from builder.detect import Variant
from builder.model import Accelerator, Compression, Platform
from builder.source import ArchiveSource, FilesSource, GitSource, Source

NO_VARIANT = Variant(Accelerator.CPU)


class GitRequest(BaseModel):
    """A repository at a ref."""

    model_config = ConfigDict(frozen=True)

    url: str
    ref: str | None = None
    subdir: str | None = None
    branch: str | None = None
    submodules: bool = False
    lfs: bool = False


class SourceRequest(BaseModel):
    """Exactly one of a git repository, inline files, and an upload that the API stored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    git: GitRequest | None = None
    files: Mapping[str, str] | None = None
    upload: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="Its SHA-256.")


class BuildRequest(BaseModel):
    """What was asked for; the API has checked names, sizes and counts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: str
    source: SourceRequest
    python: str | None = None
    base: str | None = None
    accelerator: Accelerator = Accelerator.CPU
    accelerators: tuple[Accelerator, ...] = ()
    upgrade: bool = False
    platform: str | None = None
    platforms: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    default_index: str | None = None
    index_strategy: IndexStrategy | None = None
    exclude_newer: str | None = None
    compression: Compression | None = None
    requested_by: str = Field("", description="The user whose own secrets it may use.")

    def builder_source(self, uploads: Path) -> Source:
        """The source to fetch; uploads lie in the folder under their SHA-256."""
        if self.source.git is not None:
            git = self.source.git
            return GitSource(git.url, git.ref, git.subdir, git.submodules, git.lfs)
        if self.source.upload is not None:
            return ArchiveSource(uploads / self.source.upload)
        files = self.source.files or {}
        return FilesSource({name: text.encode() for name, text in files.items()})

    def branches(self, fetched: str) -> list[str]:
        """The branches whose newest version this becomes, given the full ref that was fetched."""
        named = self.source.git.branch if self.source.git is not None else None
        if named is not None:
            return [named]
        return [fetched.removeprefix("refs/heads/")] if fetched.startswith("refs/heads/") else []

    def choices(self, variant: Variant = NO_VARIANT) -> Choices:
        """What was chosen about the packages, by the request and by the project."""
        return Choices(
            extras=(*self.extras, *variant.extras),
            groups=(*self.groups, *variant.groups),
            indexes=self.indexes,
            default_index=self.default_index,
            index_strategy=self.index_strategy,
            exclude_newer=self.exclude_newer,
        )

    def asked_accelerators(self) -> tuple[Accelerator, ...]:
        """The accelerators asked for, the default first; none where it is left to the project."""
        if self.accelerators or self.accelerator is Accelerator.CPU:
            return self.accelerators
        return (self.accelerator,)

    def builder_platforms(self) -> tuple[Platform, ...]:
        """The platforms asked for, linux/amd64 unless others are."""
        names = self.platforms or (self.platform or "linux/amd64",)
        parts = (name.partition("/") for name in names)
        return tuple(Platform(system, arch) for system, _, arch in parts)


def parse(request: Mapping[str, Any]) -> BuildRequest:
    """The request as a model; raises ValidationError for what the API can't have sent."""
    return BuildRequest.model_validate(request)
