"""What is wrong with a request, as one sentence that names the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 3
# Where pydantic looked; the caller knows a field by what comes after.
_PLACES = frozenset({"body", "query", "path", "header"})


def sentence(errors: Sequence[Mapping[str, Any]]) -> str:
    """At most three of the errors; what was sent is not repeated, since it may hold a secret."""
    if errors and errors[0].get("type") == "json_invalid":
        return "The body is not valid JSON; send a JSON object."
    parts = list(dict.fromkeys(_part(error) for error in errors))
    more = f"; and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return "; ".join(parts[:_SHOWN]) + more + "."


def _part(error: Mapping[str, Any]) -> str:
    location = [str(item) for item in error.get("loc", ())]
    if location and location[0] in _PLACES:
        location = location[1:]
    field = ".".join(location)[:200] or "the body"
    kind, message = error.get("type"), str(error.get("msg", "is wrong"))
    if kind == "missing":
        return f"{field} is missing"
    if kind == "extra_forbidden":
        return f"{field} is not a known field"
    told = message.removeprefix("Value error, ").rstrip(".")
    return f"{field}: {told[:1].lower() + told[1:]}"
