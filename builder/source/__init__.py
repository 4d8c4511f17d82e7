"""Where a build's files come from: a git URL, a folder, an archive or inline files."""

from builder.source.fetch import fetch
from builder.source.git import resolve_commit
from builder.source.hosts import HostPolicy
from builder.source.model import (
    ArchiveSource,
    Checkout,
    FilesSource,
    FolderSource,
    GitSource,
    Source,
    SourcePolicy,
)

__all__ = [
    "ArchiveSource",
    "Checkout",
    "FilesSource",
    "FolderSource",
    "GitSource",
    "HostPolicy",
    "Source",
    "SourcePolicy",
    "fetch",
    "resolve_commit",
]
