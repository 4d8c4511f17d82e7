"""The error responses that routes declare in OpenAPI."""

from __future__ import annotations

from typing import Any

from api.problems.kinds import KINDS, Slug
from api.problems.model import MEDIA_TYPE

_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def declared(*slugs: Slug) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    by_status: dict[int, list[Slug]] = {}
    for slug in slugs:
        by_status.setdefault(KINDS[slug].status, []).append(slug)
    return {
        status: {
            "description": "; ".join(f"{KINDS[slug].title} (`{slug}`)" for slug in some),
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status, some in sorted(by_status.items())
    }


def unreadable(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route whose body may be no text or JSON at all, or of a wrong type."""
    said = {400: "The body can't be read", 415: "The body is of a type that isn't taken"}
    return {
        status: {
            "description": f"{said[status]} (`{Slug.INVALID_REQUEST}`)",
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in statuses
    }
