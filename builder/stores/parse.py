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


def needs(manifest: bytes) -> list[str]:
    """The digests of all that a manifest is nothing without: config and layers, or images.

    A layer with `urls` is fetched from there and need not be held (image-spec v1.1, "Descriptor
    Properties"). What is no manifest needs nothing.
    """
    try:
        parsed = parse_object(manifest)
    except ValueError:
        return []
    lists = [parsed.get("layers"), parsed.get("manifests"), [parsed.get("config")]]
    found = [each for some in lists if isinstance(some, list) for each in some]
    return [
        each["digest"]
        for each in found
        if isinstance(each, dict) and isinstance(each.get("digest"), str) and not each.get("urls")
    ]
