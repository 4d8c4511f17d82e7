"""What Git LFS servers answer, with the limits of every part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

AT_ONCE = 100
"""Objects in one batch request."""

# What is the connection's own can't be told by a server.
_NOT_THEIRS = frozenset({"host", "content-length", "transfer-encoding", "connection"})

_Text = Annotated[str, StringConstraints(max_length=8192)]
_Header = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[\x20-\x7e]*$")]
_Headers = Annotated[dict[_Header, _Header], Field(max_length=50)]


class Action(BaseModel):
    href: _Text
    header: _Headers = Field(default_factory=dict)


class Actions(BaseModel):
    download: Action | None = None


class Error(BaseModel):
    code: int = 0
    message: _Text = ""


class Object(BaseModel):
    oid: _Text
    actions: Actions | None = None
    error: Error | None = None


class Batch(BaseModel):
    """The answer to a batch request."""

    transfer: _Text = "basic"
    objects: Annotated[list[Object], Field(max_length=AT_ONCE)]


class Authenticated(BaseModel):
    """What `git-lfs-authenticate` prints, for repositories over ssh."""

    href: _Text
    header: _Headers = Field(default_factory=dict)


def theirs(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a server asks for, without those of the connection."""
    return {name: value for name, value in headers.items() if name.lower() not in _NOT_THEIRS}
