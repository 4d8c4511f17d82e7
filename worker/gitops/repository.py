"""A git repository that is read and pushed to: blobs in, blobs out, and no work tree.

Nothing of the repository's own attributes or filters touches a file, so its bytes are the pin's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.errors import GitRefusedError, RefNotFoundError
from builder.source.gitcommand import Git
from builder.source.process import MAX_OUTPUT_BYTES
from kitbag.specs.files import SUFFIXES
from kitbag.specs.source import MAX_BYTES
from worker.gitops.signing import Signer

MAX_FILES = 2000
"""So many files of a repository may name an environment."""
_REGULAR = frozenset({"100644", "100755"})
# What git and its servers say of a push that another one was quicker than.
_LOST = ("fetch first", "non-fast-forward", "stale info", "cannot lock ref", "failed to update ref",
         "incorrect old value", "reference already exists", "failed to lock")  # fmt: skip
_REJECTED = re.compile(r"^!\t[^\t]*\t(?P<why>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a commit: its mode as git writes it, its blob, its size in bytes."""

    path: str
    mode: str
    blob: str
    size_bytes: int


class Repository:
    """What one attempt does with a repository; raises what `Git.must` raises."""

    def __init__(self, git: Git) -> None:
        self._git = git
        git.must("init", "--quiet")

    def tip(self, branch: str) -> str | None:
        """The commit of a branch now; None if there is none."""
        ref = f"refs/heads/{branch}"
        listed = self._git.must("ls-remote", "--", self._git.url.text, ref).decode(errors="replace")
        for line in listed.splitlines():
            commit, _, name = line.partition("\t")
            if name == ref:
                return commit
        return None

    def fetch(self, branch: str) -> str:
        """The newest commit of a branch, with its files; raises RefNotFoundError."""
        options = ("--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules")
        ref = f"refs/heads/{branch}"
        ran = self._git("fetch", *options, "--", self._git.url.text, ref)
        if ran.status:
            error = self._git.explain(ran)
            if isinstance(error, RefNotFoundError):
                raise RefNotFoundError(
                    f"{self._git.url.text} has no branch '{branch}': make it, with a first commit."
                )
            raise error
        return self._git.must("rev-parse", "FETCH_HEAD").decode().strip()

    def files(self, commit: str, path: str) -> list[File]:
        """The regular files at a path of a commit, or all of them for `.`."""
        where = () if path == "." else (path,)
        listed = self._git.must("ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", *where)
        if len(listed) >= MAX_OUTPUT_BYTES:
            raise GitRefusedError("The repository has too many files: name fewer paths.")
        found = []
        for entry in listed.split(b"\0"):
            told, _, name = entry.partition(b"\t")
            if not name:
                continue
            mode, _, blob, size = told.decode().split()
            if mode in _REGULAR and size.isdigit():
                found.append(File(os.fsdecode(name), mode, blob, int(size)))
        return found

    def naming(self, commit: str, files: Sequence[File], texts: Sequence[str]) -> list[File]:
        """Those of the files that hold one of the texts; raises GitRefusedError for too many."""
        patterns = [part for text in texts for part in ("-e", text)]
        command = ("grep", "-z", "-l", "-a", "-F", "--full-name", *patterns, commit)
        ran = self._git(*command)
        if ran.status > 1:
            raise self._git.explain(ran)
        prefix = f"{commit}:"
        named = {os.fsdecode(each).removeprefix(prefix) for each in ran.out.split(b"\0")}
        found = [file for file in files if file.path in named and file.size_bytes <= MAX_BYTES]
        if len(found) > MAX_FILES:
            raise GitRefusedError(
                f"Over {MAX_FILES} files name {texts[0]}: name fewer paths, or split the rollout."
            )
        return found

    def read(self, file: File) -> bytes:
        """The bytes of a file."""
        return self._git.must("cat-file", "blob", file.blob)

    def tree(self, commit: str) -> str:
        """The name of all that a commit holds."""
        return self._git.must("rev-parse", f"{commit}^{{tree}}").decode().strip()

    def message(self, commit: str) -> str:
        """What a commit says."""
        shown = self._git.must("show", "--no-patch", "--format=%B", commit, "--")
        return shown.decode(errors="replace")

    def commit(
        self, base: str, files: Mapping[File, bytes], message: str, author: str, signer: Signer
    ) -> str:
        """A commit on top of another with these files' new bytes; returns its name."""
        git = self._git
        git.must("read-tree", base)
        scratch = git.home / "content"
        for file, data in files.items():
            scratch.write_bytes(data)
            blob = git.must("hash-object", "-w", "--no-filters", "--", str(scratch)).decode()
            place = f"{file.mode},{blob.strip()},{file.path}"
            git.must("update-index", "--cacheinfo", place)
        tree = git.must("write-tree").decode().strip()
        scratch.write_text(message)
        name, _, email = author.removesuffix(">").rpartition(" <")
        person = ("-c", f"user.name={name}", "-c", f"user.email={email}")
        options = ("-p", base, "-F", str(scratch))
        made = git.must(*person, *signer.settings, "commit-tree", *signer.options, tree, *options)
        return made.decode().strip()

    def push(
        self, commit: str, branch: str, *, over: str | None = None, force: bool = False
    ) -> bool:
        """Move a branch to a commit; False if another writer was quicker.

        With `force` the branch may be elsewhere than below the commit, but at `over`, or nowhere
        for None. Raises GitRefusedError with the server's reason if it refuses.
        """
        ref = f"refs/heads/{branch}"
        lease = (f"--force-with-lease={ref}:{over or ''}",) if force else ()
        options = ("--porcelain", "--no-verify", "--no-recurse-submodules", *lease)
        ran = self._git("push", *options, "--", self._git.url.text, f"{commit}:{ref}")
        if ran.status == 0:
            return True
        rejected = _REJECTED.search(ran.out.decode(errors="replace"))
        if rejected is None:
            raise self._git.explain(ran)
        if any(sign in rejected["why"] for sign in _LOST):
            return False
        why = self._git.url.hide("".join(filter(str.isprintable, rejected["why"])))[:200]
        raise GitRefusedError(
            f"{self._git.url.text} refuses a push to {branch} ({why.strip('[] ')}): allow it there,"
            " or have pull requests made."
        )


def is_manifest(path: str, given: str) -> bool:
    """Whether a file is one that pins go to: named itself, or found as `kitbag pin` finds them."""
    if path == given:
        return True
    below = PurePosixPath(path)
    if given != ".":
        below = below.relative_to(given)
    hidden = any(part.startswith(".") for part in below.parts)
    return not hidden and below.suffix.lower() in SUFFIXES
