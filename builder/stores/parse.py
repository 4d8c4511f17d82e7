"""JSON from outside."""

from __future__ import annotations

import json
from typing import Any


def parse_object(data: bytes | str) -> dict[str, Any]:
    """The object that a JSON text is; ValueError for any other text, too deep a one included."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # as for any other wrong text
    return value
