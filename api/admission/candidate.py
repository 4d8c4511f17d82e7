"""What of an object is looked at, and which of its images this review may change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from api.admission.patch import at
from api.admission.schemas import KindName, Object, Operation, ReviewRequest
from kitbag.refs import ANNOTATION, SCHEME
from kitbag.specs.nodes import Keep

_HINT = "kitbag"

# Characters that JSON writes as they are and YAML, as which it is read, does not know.
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
# What is put into `{}` is written as YAML has it; behind another key it is JSON.
_EMPTY = {"-": ""}
_COPIES = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
RUN = frozenset(
    {
        ("kubeflow.org", kind)
        for kind in (
            *("Notebook", "Experiment", "TFJob", "PyTorchJob", "XGBoostJob", "PaddleJob"),
            *("JAXJob", "MXJob", "MPIJob"),
        )
    }
    | {("trainer.kubeflow.org", "TrainJob")}
    | {("ray.io", kind) for kind in ("RayCluster", "RayJob", "RayService")}
    | {("sparkoperator.k8s.io", f"{kind}SparkApplication") for kind in ("", "Scheduled")}
)
_DIGEST = re.compile(r"@sha(?:256|512):[0-9a-f]+$")


def looked_at(obj: Object, keep: Keep) -> Object:
    """The part of the object in which images may be: reading all of it as YAML costs most of the
    time that an API server waits.

    Left out are the status, managed fields, what kubectl notes, and every key that is not in the
    table of kinds (`keep`) and has nothing of Kitbag under it. What is left has the path it had.
    """
    return {key: _pruned(value, key, keep) for key, value in obj.items() if key != "status"}


def _pruned(value: object, owner: str, keep: Keep) -> object:
    if isinstance(value, list):
        return [_pruned(item, owner, keep) for item in value]
    if not isinstance(value, dict):
        return value
    everything = owner in keep.parents
    kept = {
        key: _pruned(below, key, keep)
        for key, below in value.items()
        if key not in _COPIES
        and (everything or key in keep.words or _HINT in key or _mentions(below))
    }
    return kept or _EMPTY


def _mentions(value: object) -> bool:
    """Whether a text under it has to do with Kitbag."""
    if isinstance(value, str):
        return _HINT in value
    if isinstance(value, dict):
        return any(_HINT in key or _mentions(below) for key, below in value.items())
    return isinstance(value, list) and any(map(_mentions, value))


def text_of(obj: Object) -> str:
    """The object as JSON that is YAML too; half a surrogate pair stays escaped."""
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(obj, ensure_ascii=False))


def asks(text: str) -> bool:
    """Whether an object with this text asks for an environment, and so may be refused."""
    return SCHEME in text or ANNOTATION in text


def is_untouched(seen: Object, old: Object, keep: Keep) -> bool:
    """Whether an update changed nothing that has to do with images, as controllers' updates do."""
    before = looked_at(old, keep)
    same = {key: value for key, value in seen.items() if key != "metadata"} == {
        key: value for key, value in before.items() if key != "metadata"
    }
    return same and sorted(_environments(before)) == sorted(_environments(seen))


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
        if untouched and not (isinstance(value, str) and SCHEME in value):
            continue
        if operation["op"] == "replace":
            kept.append({"op": "test", "path": path, "value": value})
        kept.append(operation)
    return kept


def is_run(kind: KindName) -> bool:
    """Whether users run their own code as such an object, so that a namespace's default fits it.

    Not what anything else may be run as: servers of the platform are Deployments, and the steps of
    a Workflow have images of their own.
    """
    return (kind.group, kind.kind) in RUN


def inexact(operations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The operations but for those on images with a digest, which somebody chose."""
    exact = {
        each["path"]
        for each in operations
        if each["op"] == "test" and isinstance(each["value"], str) and has_digest(each["value"])
    }
    return [each for each in operations if each["path"] not in exact]


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
