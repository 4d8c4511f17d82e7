"""Image references: registry, repository, tag, digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 1024

# The grammar of github.com/distribution/reference, which Docker, containerd and the kubelet use.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REST = re.compile(
    rf"(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image reference as it is written; nothing is filled in (no docker.io, no latest)."""

    registry: str | None
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read `[REGISTRY[:PORT]/]REPOSITORY[:TAG][@DIGEST]`.

        The first part is a registry when it has a dot, a colon or a capital, or is `localhost`, as
        Docker decides it. Raises ValueError with one sentence when the text is no image reference.
        """
        if len(text) <= MAX_CHARS:
            first, slash, rest = text.partition("/")
            named = bool(slash) and (
                any(mark in first for mark in ".:") or first == "localhost" or not first.islower()
            )
            match = _REST.fullmatch(rest if named else text)
            if match and (not named or _REGISTRY.fullmatch(first)):
                registry = first if named else None
                return cls(registry, match["repository"], match["tag"], match["digest"])
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise ValueError(
            f"{shown!r} is not an image reference: write REGISTRY/REPOSITORY@sha256:… or"
            " REGISTRY/REPOSITORY:TAG"
        )

    @property
    def name(self) -> str:
        """The registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.name + tag + (f"@{self.digest}" if self.digest else "")
