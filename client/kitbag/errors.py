"""What can go wrong for a user; every message is one sentence that says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_TYPE_PREFIX = "https://kitbag.dev/problems/"


@dataclass(frozen=True)
class Problem:
    """A problem document of the server (RFC 9457).

    `type` is the stable slug of docs/errors.md; `extra` holds the members beside the standard ones:
    `file`, `line`, `package`, `build`.
    """

    type: str
    title: str
    status: int
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Problem:
        """The problem that this document describes; members that it lacks are empty."""
        standard = {"type", "title", "status", "detail", "instance"}
        return cls(
            type=str(data.get("type", "internal")).removeprefix(_TYPE_PREFIX),
            title=str(data.get("title", "")),
            status=int(data.get("status") or 0),
            detail=str(data.get("detail") or data.get("title") or "the server gave no reason"),
            extra={key: value for key, value in data.items() if key not in standard},
        )

    @property
    def sentence(self) -> str:
        """The detail behind FILE:LINE:, where the server named a place the detail doesn't name."""
        file = str(self.extra.get("file") or "")
        if not file or file in self.detail:
            return self.detail
        line = self.extra.get("line")
        return f"{file}:{line}: {self.detail}" if line else f"{file}: {self.detail}"


class KitbagError(Exception):
    """Something can't be done; `problem` is the server's own account of it, None if it has none."""

    def __init__(self, message: str, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.problem = problem

    @classmethod
    def of(cls, problem: Problem) -> KitbagError:
        """The error that says what the server said."""
        return cls(problem.sentence, problem)


class UnreachableError(KitbagError):
    """The server did not answer."""


class BuildFailedError(KitbagError):
    """The build ended without an image: it failed or somebody cancelled it."""


class StillRunningError(KitbagError):
    """The build takes longer than the caller wants to wait; it goes on."""


class PackError(KitbagError):
    """A local folder or file can't be sent to the server as it is."""
