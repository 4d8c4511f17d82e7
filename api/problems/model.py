"""A problem as JSON, and as the exception that becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.problems.kinds import KINDS, PREFIX, Slug, slug_of

MEDIA_TYPE = "application/problem+json"
_MEMBERS = ("instance", "file", "line", "package", "build")


class Problem(BaseModel):
    """An error (RFC 9457). `type` is stable; `detail` is one sentence that says what to do."""

    model_config = ConfigDict(extra="ignore")

    type: str = Field(description="A URL whose last part is the stable slug of docs/errors.md.")
    title: str = Field(description="What this type of problem is, always the same.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="One sentence: what is wrong and what to do.")
    instance: str | None = Field(None, description="The path that was asked for.")
    file: str | None = Field(None, description="The file that is wrong.")
    line: int | None = Field(None, description="The line in the file, from 1.")
    package: str | None = Field(None, description="The package it is about.")
    build: str | None = Field(None, description="The build it is about.")


class ProblemError(Exception):
    """Answer the request with this problem.

    `about` may hold `file`, `line`, `package` and `build`; `headers` go on the response; `status`
    replaces the usual one of the slug.
    """

    def __init__(
        self,
        slug: Slug,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        about: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.status = status or KINDS[slug].status
        self.headers = dict(headers or {})
        self.about = dict(about or {})

    def as_problem(self, instance: str | None = None) -> Problem:
        """The problem as the response shows it."""
        told = complete({"type": self.slug, "detail": self.detail} | self.about)
        return told.model_copy(update={"status": self.status, "instance": instance})

    @classmethod
    def told(cls, problem: Mapping[str, Any]) -> ProblemError:
        """The exception for a problem that a worker described."""
        whole = complete(problem)
        return cls(
            slug_of(whole.type),
            whole.detail,
            about=whole.model_dump(include={"file", "line", "package", "build"}, exclude_none=True),
        )


def complete(problem: Mapping[str, Any]) -> Problem:
    """The problem with the title and status that its type has, where it says none."""
    slug = slug_of(problem.get("type"))
    kind = KINDS[slug]
    return Problem(
        type=PREFIX + slug,
        title=str(problem.get("title") or kind.title),
        status=int(problem.get("status") or kind.status),
        detail=str(problem.get("detail") or kind.title),
        **{name: problem[name] for name in _MEMBERS if problem.get(name) is not None},
    )
