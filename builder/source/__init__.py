"""Where a build's files come from: a git URL, a folder, an archive or inline files."""

from builder.source.fetch import fetch
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
from builder.source.refs import resolve_commit

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
