"""The nouns of fetching: four kinds of source, the policy for them, what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.model import Step
from builder.source.hosts import HostPolicy

Report = Callable[[Step], None]


def never() -> bool:
    """The cancellation check of a fetch that nobody can cancel."""
    return False


def silent(step: Step) -> None:
    """A report that nobody reads."""
    del step


@dataclass(frozen=True, slots=True)
class GitSource:
    """A git repository at `ref`: a branch, a tag, a full ref name, a commit (full, or 7 digits and
    more), or None for the default branch. `subdir` is the folder of it that is meant. `submodules`
    and `lfs` say whether what these stand for is fetched too."""

    url: str
    ref: str | None = None
    subdir: str | None = None
    submodules: bool = False
    lfs: bool = False


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder of this machine; `.git`, virtual environments and bytecode caches are left out."""

    path: Path


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Inline files: relative name with forward slashes → bytes."""

    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A tar or tar.gz of a folder, whose members are named relative to it."""

    path: Path


Source = GitSource | FolderSource | FilesSource | ArchiveSource


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """What the operator allows a source to be, to reach and to weigh.

    `protocols` are of https, http, ssh, git and file. The limits hold for what is downloaded and
    for the files on disk alike, submodules and LFS files included. `cancelled` is asked several
    times a second. `login` is a user and a password (or token) for http and https, where the URL
    has none. `ssh_key` and `known_hosts` are OpenSSH's files; without `known_hosts` any host key is
    accepted.
    """

    protocols: frozenset[str] = frozenset({"https", "ssh"})
    hosts: HostPolicy = field(default_factory=HostPolicy)
    max_bytes: int = 1 << 30
    max_files: int = 100_000
    max_submodules: int = 100
    max_submodule_depth: int = 5
    timeout_s: float = 300.0
    cancelled: Callable[[], bool] = never
    ca_bundle: Path | None = None
    login: tuple[str, str] | None = field(default=None, repr=False)
    ssh_key: Path | None = None
    known_hosts: Path | None = None

    @classmethod
    def local(cls, cancelled: Callable[[], bool] = never) -> SourcePolicy:
        """For a server that only its own user can reach: every protocol and every host."""
        return cls(
            protocols=frozenset({"https", "http", "ssh", "git", "file"}),
            hosts=HostPolicy(private=True),
            cancelled=cancelled,
        )


@dataclass(frozen=True, slots=True)
class Checkout:
    """A source's files on disk, without version-control data.

    `commit`, `commit_time` (seconds since the epoch) and `ref` (the full name of the branch or tag)
    are None where there is none. `url` has no credentials in it. Every symbolic link in `root`
    points inside it.
    """

    root: Path
    commit: str | None = None
    url: str | None = None
    ref: str | None = None
    commit_time: int | None = None
    size_bytes: int = 0
    file_count: int = 0
    warnings: tuple[str, ...] = ()
