"""Reading and changing an object as JSON: its images by path, its copy under a new name."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..specs import Kinds, SpecError
from ..specs.find import Finder, Wanted
from ..specs.kinds import Part
from ..specs.nodes import Node
from ..specs.path import Item, Key, Step, parse
from ..specs.read import read
from ..specs.source import Source

Json = Mapping[str, Any]

COPY_OF = "kitbag.dev/copy-of"
_MAX_NAME = 63
# What the API server and controllers write into `metadata`.
_THEIRS = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "generateName",
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object: of a namespace, or of the cluster where that is empty."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, item: Json) -> Ref:
        """The reference of an object."""
        metadata = item.get("metadata") or {}
        return cls(
            str(item.get("apiVersion", "")),
            str(item.get("kind", "")),
            str(metadata.get("namespace", "")),
            str(metadata.get("name", "")),
        )

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.title

    @property
    def title(self) -> str:
        """KIND NAME."""
        return f"{self.kind} {self.name}"


def root(item: Json) -> Node:
    """The object's nodes, which the table's paths lead through."""
    return read(Source(json.dumps(item).encode(), Ref.of(item).title))[0]


@dataclass(frozen=True, slots=True)
class Place:
    """An image in an object; `image` is None where the container has none."""

    path: str
    container: str
    image: str | None


def places(
    item: Json, kinds: Kinds, container: str | None = None
) -> tuple[list[Place], SpecError | None]:
    """The user's images; and where nothing says which are, every candidate and the doubt.

    Raises SpecError for what can't be pinned at all.
    """
    source = Source(json.dumps(item).encode(), Ref.of(item).title)
    node = read(source)[0]
    found = Finder(source, kinds, Wanted(container)).find(node)
    sites = list(found.sites)
    if found.doubts:
        for name in dict.fromkeys(found.containers):
            sites += Finder(source, kinds, Wanted(name)).find(node).sites
    unique = {
        site.path: Place(site.path, site.container, site.image)
        for site in sites
        if site.part is Part.WHOLE and not site.prefix
    }
    return list(unique.values()), found.doubts[0][1] if found.doubts else None


def with_images(item: Json, images: Mapping[str, str | None]) -> dict[str, Any]:
    """A copy of the object that says these images, or other texts, at these paths."""
    changed = copy.deepcopy(dict(item))
    for path, image in images.items():
        *way, last = (_step(step) for step in parse(path))
        holder: Any = changed
        for step in way:
            holder = holder[step]
        holder[last] = image
    return changed


def _step(step: Step) -> str | int:
    """A step of a path that was found, which has no choices."""
    chosen = step.name if isinstance(step, Key) else step.number if isinstance(step, Item) else None
    assert chosen is not None
    return chosen


def renamed(item: Json, label: str, drop: Iterable[str] = ()) -> dict[str, Any]:
    """A new object like this one, named for its origin and `label`; `drop` are paths to leave out.

    A copy of a copy is named for the first, so that there is one for a label.
    """
    made = copy.deepcopy(dict(item))
    made.pop("status", None)
    metadata = made.setdefault("metadata", {})
    origin = origin_of(item)
    for name in _THEIRS:
        metadata.pop(name, None)
    annotations = metadata.setdefault("annotations", {})
    annotations.pop(_LAST_APPLIED, None)
    annotations[COPY_OF] = origin
    metadata["name"] = f"{origin[: _MAX_NAME - len(label) - 1].rstrip('-.')}-{label}"
    for path in drop:
        _remove(made, tuple(_step(step) for step in parse(path)))
    return made


def origin_of(item: Json) -> str:
    """The name of the object that this one is a copy of; its own if it is none."""
    metadata = item.get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(COPY_OF) or metadata.get("name", ""))


def _remove(item: Any, steps: tuple[str | int, ...]) -> None:  # noqa: ANN401 - any JSON value
    *way, last = steps
    for step in way:
        item = item.get(step) if isinstance(item, dict) else None
    if isinstance(item, dict):
        item.pop(last, None)
