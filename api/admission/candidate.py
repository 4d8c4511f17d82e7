"""What of an object is looked at, and which of its images this review may change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from api.admission.patch import at
from api.admission.schemas import Object, Operation, ReviewRequest
from kitbag.refs import ANNOTATION, SCHEME

# Characters that JSON writes as they are and YAML, as which it is read, does not know.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_DIGEST = re.compile(r"@sha(?:256|512):[0-9a-f]+$")


def looked_at(obj: Object) -> Object:
    """The object without what nobody wrote by hand: status, managed fields, what kubectl notes.

    Everything that is left has the path that it had.
    """
    kept = {key: value for key, value in obj.items() if key != "status"}
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata = {key: value for key, value in metadata.items() if key != "managedFields"}
        notes = metadata.get("annotations")
        if isinstance(notes, dict) and _LAST_APPLIED in notes:
            metadata["annotations"] = {k: v for k, v in notes.items() if k != _LAST_APPLIED}
        kept["metadata"] = metadata
    return kept


def text_of(obj: Object) -> str:
    """The object as JSON that is YAML too; half a surrogate pair stays escaped."""
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(obj, ensure_ascii=False))


def is_owned(obj: Object) -> bool:
    """Whether a controller made the object from another one, which was reviewed before it."""
    owners = at(obj, "/metadata/ownerReferences")
    return isinstance(owners, list) and any(at(owner, "/controller") is True for owner in owners)


def annotation(obj: Object, name: str) -> str | None:
    """The object's own annotation of that name, if it is a text."""
    value = at(obj, f"/metadata/annotations/{name.replace('/', '~1')}")
    return value if isinstance(value, str) else None


def due(
    operations: list[dict[str, Any]], request: ReviewRequest, obj: Object
) -> list[dict[str, Any]]:
    """The operations that an update may do: it moves no digest that it did not touch.

    Controllers update objects all day; a digest that changed under a running job would leave its
    workers with two. A `kitbag://` reference can't run, so it is always resolved.
    """
    old = request.oldObject
    if request.operation is not Operation.UPDATE or old is None:
        return operations
    if sorted(_environments(old)) != sorted(_environments(obj)):
        return operations
    kept: list[dict[str, Any]] = []
    for operation in operations:
        if operation["op"] == "test":
            continue
        path, value = operation["path"], at(obj, operation["path"])
        untouched = value == at(old, path)
        if untouched and not (isinstance(value, str) and value.startswith(SCHEME)):
            continue
        if operation["op"] == "replace":
            kept.append({"op": "test", "path": path, "value": value})
        kept.append(operation)
    return kept


def has_digest(image: str) -> bool:
    """Whether an image reference is exact."""
    return _DIGEST.search(image) is not None


def _environments(value: object) -> Iterator[str]:
    """What the annotations and labels of the object and of what is in it name."""
    stack = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, Mapping):
            if ANNOTATION in node:
                yield str(node[ANNOTATION])
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
