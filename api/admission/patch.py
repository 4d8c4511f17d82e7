"""The difference of two JSON values as a JSON Patch (RFC 6902)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def operations(before: object, after: object) -> list[dict[str, Any]]:
    """What makes `after` of `before`: a `test` before each `replace`, and `add` of new keys.

    Only values change and only keys come: what pinning does. A list that became longer or shorter,
    or a key that went, is an AssertionError.
    """
    return list(_operations(before, after, ""))


def _operations(before: object, after: object, path: str) -> Iterator[dict[str, Any]]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        assert before.keys() <= after.keys(), f"a key of {path} went"
        for key, value in after.items():
            below = f"{path}/{_escaped(key)}"
            if key in before:
                yield from _operations(before[key], value, below)
            else:
                yield {"op": "add", "path": below, "value": value}
    elif isinstance(before, list) and isinstance(after, list):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from _operations(*pair, f"{path}/{index}")
    elif before != after or type(before) is not type(after):
        yield {"op": "test", "path": path, "value": before}
        yield {"op": "replace", "path": path, "value": after}


def at(value: object, pointer: str) -> object:
    """What a JSON Pointer (RFC 6901) leads to; None where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            value = value[int(key)] if key.isdecimal() and int(key) < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
