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
