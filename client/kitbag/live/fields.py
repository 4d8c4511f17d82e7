"""Which fields of an object somebody manages, and the object cut down to some fields.

A set of fields is what `metadata.managedFields[].fieldsV1` holds (FieldsV1 of the Kubernetes API,
sigs.k8s.io/structured-merge-diff/fieldpath): `f:NAME` is a key, `k:{…}` the item of a list with
these keys, `v:VALUE` an item that is this value, `i:N` the item of that number, `.` the thing
itself. What has nothing below it is meant whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..specs.path import Item, Key, Step

Fields = Mapping[str, Any]
_MISSING = object()


def managed(item: Mapping[str, Any], manager: str | None = None) -> list[Mapping[str, Any]]:
    """The entries of `managedFields` that are not about a subresource.

    With `manager` only what that one applied (and didn't write otherwise).
    """
    entries = item.get("metadata", {}).get("managedFields") or []
    return [
        entry
        for entry in entries
        if not entry.get("subresource")
        and (
            manager is None
            or (entry.get("manager") == manager and entry.get("operation") == "Apply")
        )
    ]


def union(one: Fields, other: Fields) -> dict[str, Any]:
    """The fields of either; what one of them means whole stays whole."""
    merged = dict(one)
    for name, below in other.items():
        if name not in merged:
            merged[name] = below
        elif merged[name]:
            merged[name] = union(merged[name], below) if below else below
    return merged


def known(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of all these entries, as deep as anybody has taken them apart."""
    found: dict[str, Any] = {}
    for entry in entries:
        found = _deepest(found, entry.get("fieldsV1") or {})
    return found


def _deepest(one: Fields, other: Fields) -> dict[str, Any]:
    return dict(one) | {name: _deepest(one.get(name, {}), below) for name, below in other.items()}


def of(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of these entries of one manager."""
    found: dict[str, Any] = {}
    for entry in entries:
        found = union(found, entry.get("fieldsV1") or {})
    return found


def leading_to(steps: tuple[Step, ...], item: Any, taken: Fields) -> dict[str, Any]:  # noqa: ANN401
    """The one field at a path of keys and numbers, as far as lists can be taken apart.

    `taken` are the fields that anybody manages: they tell whether the cluster merges a list by
    keys. It replaces all others whole, and then the list is what the field ends at.
    """
    if not steps:
        return {}
    step, rest = steps[0], steps[1:]
    if isinstance(step, Key):
        name = f"f:{step.name}"
        return {name: leading_to(rest, item[step.name], taken.get(name) or {})}
    assert isinstance(step, Item)
    assert step.number is not None
    there = item[step.number]
    for name, below in taken.items():
        if name.startswith("k:") and _is(there, json.loads(name[2:])):
            return {name: leading_to(rest, there, below or {})}
    return {}


def cut(item: Any, fields: Fields) -> Any:  # noqa: ANN401 - any JSON value
    """What an object holds of these fields; those that it lacks are left out."""
    found = _cut(item, fields)
    return {} if found is _MISSING else found


def _cut(item: Any, fields: Fields) -> Any:  # noqa: ANN401
    if not fields:
        return item
    if isinstance(item, Mapping):
        parts = {
            name[2:]: _cut(item[name[2:]], below)
            for name, below in fields.items()
            if name.startswith("f:") and name[2:] in item
        }
        return {name: part for name, part in parts.items() if part is not _MISSING}
    if isinstance(item, list):
        chosen = [_item(number, each, fields) for number, each in enumerate(item)]
        return [each for each in chosen if each is not _MISSING]
    return item


def _item(number: int, item: Any, fields: Fields) -> Any:  # noqa: ANN401
    for name, below in fields.items():
        kind, _, text = name.partition(":")
        if kind == "k" and _is(item, json.loads(text)):
            keys = json.loads(text)
            return keys | _cut(item, below) if below else item
        if kind == "v" and item == json.loads(text):
            return item
        if kind == "i" and number == int(text):
            return _cut(item, below)
    return _MISSING


def _is(item: Any, keys: Mapping[str, Any]) -> bool:  # noqa: ANN401
    """Whether an item of a list has these keys with these values."""
    return isinstance(item, Mapping) and all(item.get(key) == keys[key] for key in keys)
