"""Errors as container engines read them (distribution-spec v1.1, "Error Codes")."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from api.problems.kinds import Slug
from api.problems.model import ProblemError

VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CODES: Mapping[Slug, str] = {
    Slug.UNAUTHORIZED: "UNAUTHORIZED",
    Slug.FORBIDDEN: "DENIED",
    Slug.TOO_LARGE: "SIZE_INVALID",
    Slug.INTERNAL: "UNKNOWN",
}


class PullError(ProblemError):
    """Something that a container engine asked for isn't there; `code` is the specification's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(Slug.NOT_FOUND, detail)
        self.code = code


def is_pull(path: str) -> bool:
    """Whether the path is one of the distribution endpoints."""
    return path == "/v2" or path.startswith("/v2/")


def pull_error(error: ProblemError) -> Response:
    """The error in the specification's form."""
    code = _CODES.get(error.slug, "UNSUPPORTED")
    if isinstance(error, PullError):
        code = error.code
    return JSONResponse(
        {"errors": [{"code": code, "message": error.detail, "detail": None}]},
        status_code=error.status,
        headers=VERSION_HEADER | error.headers,
    )
