"""Put a source on disk."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from builder.errors import DiskFullError
from builder.source import git
from builder.source.model import (
    ArchiveSource,
    Checkout,
    FilesSource,
    FolderSource,
    GitSource,
    Report,
    Source,
    SourcePolicy,
    silent,
)
from builder.source.names import Meter
from builder.source.tree import Tree, copy_folder, unpack_archive, write_files


def fetch(source: Source, into: Path, *, policy: SourcePolicy, report: Report = silent) -> Checkout:
    """Fill `into`, an empty or missing folder, with the files of `source`.

    On any error `into` is removed. Raises SourceNotFoundError, SourceUnreachableError,
    RefNotFoundError, GitRefusedError, TooLargeError, InvalidSpecError, DiskFullError,
    CancelledError and TimedOutError.
    """
    into.mkdir(parents=True, exist_ok=True)
    if any(into.iterdir()):
        raise ValueError(f"{into} is not empty")
    try:
        if isinstance(source, GitSource):
            return git.fetch(source, into, policy, report)
        return _fetch_files(source, into, policy)
    except OSError as error:
        shutil.rmtree(into, ignore_errors=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "The worker's disk is full; free some space and try again."
            ) from error
        raise
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _fetch_files(
    source: FolderSource | FilesSource | ArchiveSource, into: Path, policy: SourcePolicy
) -> Checkout:
    what = {FolderSource: "folder", FilesSource: "request", ArchiveSource: "archive"}[type(source)]
    meter = Meter(what, policy.max_files, policy.max_bytes)
    tree = Tree(into, meter, policy)
    match source:
        case FolderSource():
            copy_folder(source, tree)
        case FilesSource():
            write_files(source, tree)
        case ArchiveSource():
            unpack_archive(source, tree)
    tree.finish()
    return Checkout(root=into, size_bytes=meter.bytes, file_count=meter.files)
