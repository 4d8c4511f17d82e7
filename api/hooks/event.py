"""What the forges tell, in words that are the same for all of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

MAX_REF_CHARS = 255
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NOTHING = re.compile(r"0+")


@dataclass(frozen=True, slots=True)
class Pushed:
    """A branch came, moved or went: `before` or `after` is None where there is no commit.

    `files` are the paths that changed, None where the forge does not tell all of them.
    `repositories` are HOST/PATH, as `repository_of` writes them.
    """

    repositories: frozenset[str]
    branch: str
    before: str | None
    after: str | None
    files: Collection[str] | None


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag came, moved or went: the commit that it stands for, None where there is none now."""

    repositories: frozenset[str]
    tag: str
    commit: str | None


@dataclass(frozen=True, slots=True)
class Proposed:
    """A pull or merge request: its newest commit, or that it was closed."""

    repositories: frozenset[str]
    number: int
    commit: str
    closed: bool
    from_fork: bool


@dataclass(frozen=True, slots=True)
class Other:
    """Nothing that is built: a ping, a comment; `told` says what, for the answer."""

    told: str


Event = Pushed | Tagged | Proposed | Other


class UnreadableError(Exception):
    """The payload is not what the forge documents; the message names what is missing."""


def repository_of(url: str) -> str | None:
    """HOST/PATH of a repository's address in lower case, without .git; None for what is none.

    The same for https, ssh and ssh's short form, with or without a user or a port.
    """
    text = url.strip()
    if "://" in text:
        text = text.partition("://")[2]
        host, _, path = text.partition("/")
    else:
        host, colon, path = text.partition(":")
        if not colon:
            return None
    host = host.rpartition("@")[2].partition(":")[0]
    path = path.strip("/").removesuffix(".git")
    return f"{host}/{path}".lower() if host and path else None


def repositories_of(*urls: str | None) -> frozenset[str]:
    """The addresses that say which repository it is."""
    found = (repository_of(url) for url in urls if url)
    return frozenset(name for name in found if name is not None)


def commit_of(text: str | None) -> str | None:
    """A whole commit; None for a row of zeros, which stands for none. Raises UnreadableError."""
    if not text or _NOTHING.fullmatch(text):
        return None
    if not _COMMIT.fullmatch(text):
        raise UnreadableError("a commit is not of 40 or 64 hex digits")
    return text


def name_of(ref: str) -> tuple[str, bool]:
    """The branch or tag that a full ref names, and whether it is a tag. Raises UnreadableError."""
    if len(ref) > MAX_REF_CHARS:
        raise UnreadableError(f"the ref is longer than {MAX_REF_CHARS} characters")
    for start, is_tag in (("refs/heads/", False), ("refs/tags/", True)):
        if ref.startswith(start) and len(ref) > len(start):
            return ref.removeprefix(start), is_tag
    raise UnreadableError("the ref is neither a branch nor a tag")
