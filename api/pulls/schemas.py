"""What the pull endpoints answer beside manifests and blobs."""

from __future__ import annotations

from pydantic import BaseModel


class TagList(BaseModel):
    """The tags of a repository, in order."""

    name: str
    tags: list[str]
