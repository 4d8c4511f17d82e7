"""What a caller may ask to be built, with the limits of every part."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from api.builds.choices import Choices
from api.problems import ProblemError, Slug
from api.text import Text

_GIT_SCHEMES = frozenset({"https", "http", "ssh", "git", "file"})
_SSH_SHORT = re.compile(r"(?:[\w.-]+@)?[\w.-]+:[^:].*")
# https://USER:PASSWORD@HOST
_LOGIN = re.compile(r"https?://[^\s/@:{}]*:[^\s/@:{}]+@", re.IGNORECASE)
_PYTHON = re.compile(r"3\.[0-9]{1,2}")
_PLATFORMS = ("linux/amd64", "linux/arm64")
_MAX_NAME_BYTES = 4096
_MAX_PART_BYTES = 255


def _known_platform(platform: str) -> str:
    if platform not in _PLATFORMS:
        raise ValueError(f"give {' or '.join(_PLATFORMS)}")
    return platform


_Platform = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_platform)]


class Accelerator(StrEnum):
    """What the environment computes on."""

    CPU = "cpu"
    CUDA = "cuda"
    TPU = "tpu"


class _Asked(BaseModel):
    # A misspelt field must not be passed over in silence.
    model_config = ConfigDict(extra="forbid")


class GitSource(_Asked):
    """A git repository; the default branch unless `ref` names a branch, a tag or a commit."""

    url: Annotated[Text, StringConstraints(min_length=1, max_length=2000)]
    ref: Annotated[Text, StringConstraints(max_length=255)] | None = None
    subdir: Annotated[Text, StringConstraints(max_length=1024)] | None = None
    branch: Annotated[Text, StringConstraints(max_length=255)] | None = Field(
        None, description="Where `ref` is a commit: the branch whose newest version it becomes."
    )
    submodules: bool = Field(False, description="Fetch the repository's submodules too.")
    lfs: bool = Field(False, description="Fetch the files that Git LFS pointers stand for.")

    @field_validator("ref", "subdir", "branch")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value or None

    @field_validator("subdir")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        return None if value is None else checked_name(value)

    def check_url(self) -> None:
        """Refuse what no worker would fetch, and secrets, which would be kept and shown."""
        scheme, separator, _ = self.url.partition("://")
        if not separator:
            scheme = "ssh" if _SSH_SHORT.fullmatch(self.url) else ""
        bad = self.url.startswith("-") or "::" in self.url.split("/", 1)[0]
        if bad or (not self.url.startswith("/") and scheme.lower() not in _GIT_SCHEMES):
            raise ProblemError(
                Slug.GIT_REFUSED,
                "That is no git URL that is fetched from; give one such as "
                "https://HOST/OWNER/REPO.",
            )
        if separator and _has_secret(self.url):
            raise ProblemError(
                Slug.GIT_REFUSED,
                "The git URL holds credentials, which would be stored and shown; take them out and "
                "ask the operator to give the workers access.",
            )


class Source(_Asked):
    """Where the environment is described: exactly one of a git repository or inline files."""

    git: GitSource | None = None
    files: dict[Text, Text] | None = Field(
        None, description="Texts by relative path, such as {'requirements.txt': 'numpy'}."
    )

    @field_validator("files")
    @classmethod
    def _names(cls, files: dict[str, str] | None) -> dict[str, str] | None:
        if files is None:
            return None
        if not files:
            raise ValueError("it names no file; give at least a requirements.txt")
        named = {checked_name(name): text for name, text in files.items()}
        if any(_LOGIN.search(text) for text in named.values()):
            raise ValueError(
                "a URL in it holds a password, which would be stored and shown; ask the operator "
                "for a secret and write https://{secret:NAME}@HOST/…"
            )
        if len(named) != len(files):
            raise ValueError("two names mean the same file")
        return named

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.git is None) == (self.files is None):
            raise ValueError("give exactly one of git and files")
        return self


class BuildRequest(Choices):
    """What to build. With a multipart upload `source` is left out: the archive is the source."""

    environment: Annotated[Text, StringConstraints(max_length=127)] | None = Field(
        None, description="NAMESPACE/NAME; `default/REPOSITORY` if a git source names none."
    )
    source: Source | None = None
    python: Annotated[str, StringConstraints(max_length=16)] | None = Field(
        None, description="Such as 3.11; the source or the base decides if there is none."
    )
    base: Annotated[Text, StringConstraints(min_length=1, max_length=512)] | None = Field(
        "auto", description="`auto`, the name of a base, or an image reference."
    )
    accelerator: Accelerator = Field(
        Accelerator.CPU,
        description="`cpu` leaves it to the source, which may declare others; see `accelerators`.",
    )
    accelerators: list[Accelerator] = Field(
        [],
        max_length=len(Accelerator),
        description="An image for each of these and no others, the default first.",
    )
    upgrade: bool = Field(
        False, description="Resolve anew instead of keeping the packages of the last version."
    )
    platform: _Platform | None = Field(None, description="`linux/amd64` if neither is set.")
    platforms: list[_Platform] = Field(
        [], max_length=len(_PLATFORMS), description="An image for each, under one index."
    )

    @field_validator("python")
    @classmethod
    def _minor(cls, python: str | None) -> str | None:
        if python is not None and not _PYTHON.fullmatch(python):
            raise ValueError("give a minor version such as 3.11")
        return python

    @field_validator("accelerators", "platforms")
    @classmethod
    def _once(cls, named: list[str]) -> list[str]:
        if len(set(named)) < len(named):
            raise ValueError("one is named twice; name each once")
        return named

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        for one, many in (("accelerator", "accelerators"), ("platform", "platforms")):
            said = getattr(self, one) not in (None, Accelerator.CPU)
            if said and getattr(self, many):
                raise ValueError(f"give {one} or {many}, not both")
        return self


def checked_name(name: str) -> str:
    """The relative path without `.` parts; ValueError for one that leads elsewhere."""
    if "\\" in name or name.startswith("/") or len(name.encode()) > _MAX_NAME_BYTES:
        raise ValueError(f"{name[:100]!r} is not a relative path with forward slashes")
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts:
        raise ValueError(f"{name[:100]!r} does not stay inside its folder")
    if not name.isprintable() or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise ValueError(f"{name[:100]!r} has control characters or a part of over 255 bytes")
    return "/".join(parts)


def _has_secret(url: str) -> bool:
    """Whether the URL has a password, or over HTTP a user, which there is often a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "@" in url
    if parts.scheme.lower() in ("http", "https"):
        return "@" in parts.netloc
    return parts.password is not None
