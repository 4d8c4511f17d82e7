"""What a request may choose about the packages: extras, groups, indexes, a last day, packing."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# PEP 508 and PEP 735: names of extras and groups, compared with `-`, `_` and `.` as one.
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
_SECRET = re.compile(r"\{secret:[a-z0-9][a-z0-9._-]{0,62}\}")
_NO_TIME = "give a date such as 2026-01-31, or a time with an offset"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
MAX_NAMES = 50
MAX_INDEXES = 10


class IndexStrategy(StrEnum):
    """uv's --index-strategy."""

    FIRST_INDEX = "first-index"
    UNSAFE_FIRST_MATCH = "unsafe-first-match"
    UNSAFE_BEST_MATCH = "unsafe-best-match"


class Compression(StrEnum):
    """How layers of packages are packed."""

    GZIP = "gzip"
    ZSTD = "zstd"


def _moment(text: str) -> str:
    """A time in UTC to the second, such as 2026-01-31T00:00:00Z; a date counts to its end."""
    try:
        if _DATE.fullmatch(text):
            ends = date.fromisoformat(text) + timedelta(days=1)
            return f"{ends.isoformat()}T00:00:00Z"
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(_NO_TIME) from error
    if moment.tzinfo is None:
        raise ValueError(_NO_TIME)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _index(url: str) -> str:
    """An index's URL, whose user part is nothing or `{secret:NAME}`."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
    except ValueError:
        good = False
    if not good or " " in url:
        raise ValueError("give an http or https URL of a package index")
    user, separator, _ = parts.netloc.rpartition("@")
    if separator and not _SECRET.fullmatch(user):
        raise ValueError(
            "credentials would be stored and shown; ask the operator for a secret and write "
            "https://{secret:NAME}@HOST/…"
        )
    return url


def _canonical(names: list[str]) -> list[str]:
    return sorted({re.sub(r"[-_.]+", "-", name).lower() for name in names})


_Name = Annotated[str, StringConstraints(max_length=100, pattern=_NAME)]
Names = Annotated[list[_Name], Field(max_length=MAX_NAMES), AfterValidator(_canonical)]
IndexUrl = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_index)]
Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]


class Choices(BaseModel):
    """The part of a request that is about packages; all of it is part of the build's key."""

    # A misspelt field must not be passed over in silence.
    model_config = ConfigDict(extra="forbid")

    extras: Names = Field([], description="Extras of the source's pyproject.toml.")
    groups: Names = Field([], description="Dependency groups of the source's pyproject.toml.")
    indexes: Annotated[list[IndexUrl], Field(max_length=MAX_INDEXES)] = Field(
        [],
        description="Package indexes that are tried before all others, in this order. "
        "`https://{secret:NAME}@HOST/…` names the operator's credentials for that host.",
    )
    default_index: IndexUrl | None = Field(
        None, description="The index that is tried last, instead of the server's."
    )
    index_strategy: IndexStrategy | None = Field(
        None, description="`first-index` unless the server has another."
    )
    exclude_newer: Moment | None = Field(
        None, description="A date or a time: files uploaded after it are not taken."
    )
    compression: Compression | None = Field(
        None, description="How layers are packed; as the server does unless given."
    )
