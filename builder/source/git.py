"""Put a commit's files on disk: the repository's, and if asked its submodules' and LFS files."""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from builder.errors import (
    BuildError,
    GitRefusedError,
    InvalidSpecError,
    RefNotFoundError,
    SourceNotFoundError,
    SourceUnreachableError,
    TooLargeError,
)
from builder.model import Step
from builder.source import lfs, lfsserver, submodules
from builder.source.commit import is_folder, weigh
from builder.source.gitcommand import Git
from builder.source.model import Checkout, GitSource, Report, SourcePolicy
from builder.source.names import Meter, human, shown
from builder.source.refs import download, resolve
from builder.source.tree import leads_inside
from builder.source.url import GitUrl, read_url

_NAMED = 3
"""Of many files or folders a warning names so many."""


def fetch(source: GitSource, into: Path, policy: SourcePolicy, report: Report) -> Checkout:
    """Put the commit's files into `into`, without version-control data."""
    fetching = _Fetch(source, into, policy, report)
    with Git(fetching.url, policy, ends=fetching.ends) as git:
        commit, ref = resolve(git, source.ref)
        report(Step("log", "source", f"Fetching {git.url.text} at {commit[:12]}"))
        fetching.place(git, commit, ref, _Place(PurePosixPath(), fetching.url, 0))
        seconds = int(git.must("show", "--no-patch", "--format=%ct", commit, "--"))
    fetching.place_submodules()
    warnings = (*fetching.left(), *_flatten_links(into))
    for warning in warnings:
        report(Step("warning", "source", warning))
    return Checkout(
        root=into,
        commit=commit,
        url=fetching.url.text,
        ref=ref,
        commit_time=seconds,
        size_bytes=fetching.meter.bytes,
        file_count=fetching.meter.files,
        warnings=warnings,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a repository's files go, below the main one's, and how deep it is nested."""

    path: PurePosixPath
    url: GitUrl
    depth: int


@dataclass(slots=True)
class _Fetch:
    """What the repositories of one fetch share: a deadline, limits, and what is left for later."""

    source: GitSource
    into: Path
    policy: SourcePolicy
    report: Report
    url: GitUrl = field(init=False)
    ends: float = field(init=False)
    meter: Meter = field(init=False)
    spent_bytes: int = 0
    waiting: deque[tuple[_Place, submodules.Submodule]] = field(default_factory=deque)
    submodule_count: int = 0
    left_submodules: list[str] = field(default_factory=list)
    left_lfs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = ("submodules",) * self.source.submodules + ("LFS files",) * self.source.lfs
        what = " with its ".join(("repository", " and ".join(parts))) if parts else "repository"
        self.url = read_url(self.source.url, self.policy)
        self.ends = time.monotonic() + self.policy.timeout_s
        self.meter = Meter(what, self.policy.max_files, self.policy.max_bytes)

    def place(self, git: Git, commit: str, ref: str | None, place: _Place) -> None:
        """Download one commit, weigh it, and only then write its files."""
        download(git, commit, ref)
        tree = weigh(git, commit, self.meter)
        self.spent_bytes += git.size_bytes()
        into = self.into / place.path
        git.must(
            "--work-tree", str(into), "checkout", "--quiet", "--force", "--detach", commit, "--"
        )
        pointers = lfs.pointers(git, into) if tree.has_attributes else []
        if pointers and self.source.lfs:
            for pointer in pointers:
                self._weigh_lfs(pointer, place)
            lfsserver.fill(git, into, pointers, commit, ref, self.ends, self.report)
        else:
            self.left_lfs += [str(place.path / pointer.path) for pointer in pointers]
        if not self.source.submodules:
            self.left_submodules += tree.submodules
        elif tree.submodules:
            declared = submodules.declared(git, commit, tree.submodules)
            self.waiting += [(place, each) for each in declared]

    def place_submodules(self) -> None:
        """Go through the submodules, those of submodules last; one is on disk as git at a time."""
        while self.waiting:
            above, submodule = self.waiting.popleft()
            path = above.path / submodule.path
            name = shown(str(path))
            self.submodule_count += 1
            if self.submodule_count > self.policy.max_submodules:
                raise TooLargeError(
                    f"The repository has more than {self.policy.max_submodules} submodules; build "
                    "one with fewer."
                )
            if above.depth >= self.policy.max_submodule_depth:
                raise TooLargeError(
                    f"Submodules are nested more than {self.policy.max_submodule_depth} deep, at "
                    f"'{name}'; build one of them by itself."
                )
            if not is_folder(self.into, path):
                raise InvalidSpecError(
                    f"The submodule '{name}' lies behind a link; put it in a folder of its own.",
                    file=name,
                )
            try:
                self._place_submodule(above, submodule, path)
            except (
                GitRefusedError, RefNotFoundError, SourceNotFoundError, SourceUnreachableError
            ) as error:  # fmt: skip
                raise _of_submodule(error, name) from error

    def _place_submodule(
        self, above: _Place, submodule: submodules.Submodule, path: PurePosixPath
    ) -> None:
        url, policy = submodules.located(submodule.url, above.url, self.url, self.policy)
        step = f"Fetching the submodule {shown(str(path))} of {url.text} at {submodule.commit[:12]}"
        self.report(Step("log", "source", step))
        with Git(url, policy, ends=self.ends, spent_bytes=self.spent_bytes) as git:
            git.must("init", "--quiet")
            self.place(git, submodule.commit, None, _Place(path, url, above.depth + 1))

    def left(self) -> list[str]:
        """A sentence for each kind of thing that was not asked for and is not fetched."""
        found = []
        if self.left_submodules:
            names, verb = _listed(self.left_submodules)
            kind = "a submodule" if verb == "is" else "submodules"
            found.append(f"{names} {verb} {kind} and left empty: ask for that with --submodules.")
        if self.left_lfs:
            names, verb = _listed(self.left_lfs)
            kind = "a pointer" if verb == "is" else "pointers"
            found.append(
                f"{names} {verb} {kind} of Git LFS instead of data: ask for that with --lfs."
            )
        return found

    def _weigh_lfs(self, pointer: lfs.Pointer, place: _Place) -> None:
        if self.meter.bytes + pointer.size_bytes > self.policy.max_bytes:
            name = shown(str(place.path / pointer.path))
            raise TooLargeError(
                f"With the LFS file '{name}' of {human(pointer.size_bytes)} the repository is "
                f"larger than {human(self.policy.max_bytes)}; keep it out of the environment's "
                "repository, or build without LFS files.",
                file=name,
            )
        self.meter.add(pointer.size_bytes)


def _of_submodule(error: BuildError, name: str) -> BuildError:
    return type(error)(f"The submodule '{name}' can't be fetched: {error.detail}", **error.extra)


def _listed(names: list[str]) -> tuple[str, str]:
    """Some of the names, and the verb for all of them."""
    quoted = [f"'{shown(name)}'" for name in names[:_NAMED]]
    more = len(names) - len(quoted)
    if more:
        return f"{', '.join(quoted)} and {more} more", "are"
    *most, last = quoted
    return (f"{', '.join(most)} and {last}", "are") if most else (last, "is")


def _flatten_links(root: Path) -> tuple[str, ...]:
    """Turn links that lead outside into files that hold their target, as git does without links.

    Absolute links are common in repositories and harmless as data; followed, they would read the
    worker's files.
    """
    warnings = []
    names = (Path(folder) / name for folder, folders, files in os.walk(root)
             for name in (*folders, *files))  # fmt: skip
    for link in sorted(name for name in names if name.is_symlink()):
        if not leads_inside(link, root):
            target = str(link.readlink())
            link.unlink()
            link.write_text(target)
            name = shown(str(link.relative_to(root)))
            warnings.append(
                f"The link '{name}' points outside the repository; it became a text file."
            )
    return tuple(warnings)
