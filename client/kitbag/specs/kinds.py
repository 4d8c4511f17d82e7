"""The table of kinds: data that says where each kind of object keeps the user's images."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath

from . import path as paths
from .accelerators import Accelerators
from .lives import Live
from .nodes import Keep, Node, Scalar


class Form(enum.Enum):
    """What a place's path leads to."""

    TEMPLATE = "template"
    """A pod template, or a whole Pod: the choice is among its `spec.containers`."""
    CONTAINERS = "containers"
    """A sequence of containers."""
    CONTAINER = "container"
    """One container: a mapping with an `image`."""
    IMAGE = "image"
    """The image scalar itself; it is changed where it is written, and added nowhere."""
    SPLIT = "split"
    """A mapping that keeps the image in parts, which `parts` names."""
    OBJECT = "object"
    """An object of any kind of this table."""
    TEXT = "text"
    """A string that is YAML or JSON itself; `holds` says of what."""


class Part(enum.Enum):
    """How much of the image a key holds. With the digest `sha256:12ab` of `r.io/a`:"""

    WHOLE = "whole"
    """`r.io/a@sha256:12ab`"""
    NAME = "name"
    """`r.io/a`"""
    DIGEST = "digest"
    """`sha256:12ab`; nothing for an image without a digest."""
    NAME_AND_ALGORITHM = "name@"
    """`r.io/a@sha256`, for readers that put a colon and the tag behind it."""
    TAG_OR_HEX = "tag"
    """`12ab`, or the tag of an image without a digest."""


class Choose(enum.Enum):
    """Which container is the user's when no name decides."""

    ONLY = "only"
    """The only one; two are a question for the user."""
    FIRST = "first"
    ALL = "all"
    NAMED = "named"
    """None."""
    SAME = "same"
    """Of images to offer, those of the repository that is to be pinned: older versions of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where images live: `at` is a path (see `path`), relative to the object.

    `named` are the names of the user's container, tried in order; `$PATH` is the text that this
    path of the object leads to. `expect` is a name that the chosen container should have: when it
    has not, a note says so. `parts` are the keys of a SPLIT place. `insert` says whether a key that
    is missing is added. `prefix` is what an image scalar begins with before the image. `holds` are
    the places inside a TEXT, beside those of an object of the table.

    Where asked for, pull secrets are added at `secrets` (a path of the object; from a template, of
    the template), as mappings with a `name` or, with `plain`, as names, and the pull policy at the
    key `policy` beside the image. `platform` leads to the executors of KFP's platform document,
    which take both.
    """

    form: Form
    at: str
    named: tuple[str, ...] = ()
    choose: Choose = Choose.ONLY
    expect: str | None = None
    insert: bool = True
    parts: tuple[tuple[str, Part], ...] = ()
    prefix: str = ""
    holds: tuple[Place, ...] = ()
    secrets: str | None = None
    plain: bool = False
    policy: str | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object in which `at` leads anywhere is refused with the sentence `say`."""

    at: str
    say: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: which objects it is about, and the places of their images.

    An object belongs here when its `kind` and API group are named, or, for files that have none,
    when every path of `has` leads somewhere (and the file's name fits one of `files`, if given).
    `live` are the rules for objects in a cluster, the first that fits counts (see `lives`).
    `note` is said about every object of the kind; `table` is the file that the row is from.
    """

    name: str
    kinds: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    versions: frozenset[str] = frozenset()
    has: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    refuse: tuple[Refusal, ...] = ()
    live: tuple[Live, ...] = ()
    note: str | None = None
    table: str = ""

    def fits(self, root: Node, kind: str | None, api_version: str | None, filename: str) -> bool:
        """Whether an object with this kind and apiVersion belongs to the row."""
        group, slash, version = (api_version or "").rpartition("/")
        if self.kinds:
            return (
                kind in self.kinds
                and (group if slash else "") in self.groups
                and (not self.versions or version in self.versions)
            )
        return (
            all(paths.first(root, path) is not None for path in self.has)
            and (not self.files or any(fnmatchcase(PurePath(filename).name, f) for f in self.files))
            and not (kind and api_version)
        )


# What the rules ask for beside the paths of the table.
_ALWAYS = (
    'kind.apiVersion.metadata.name.generateName.annotations.labels."<<".spec.containers.image'
    '.pipelineInfo.id.slug.display_name."kubectl.kubernetes.io/default-container"'
    ".imagePullSecrets.imagePullPolicy.imagePullSecret.secretName.secretNameParameter.runtimeValue"
    ".constant.podMetadata.annotations.*"
)


@dataclass(frozen=True, slots=True)
class Kinds:
    """The table. `injected` are container names that are never the user's; `platform` are image
    name prefixes that never are; `shapes` are groups of places that rows share; `accelerators` say
    which of several images a container gets."""

    rows: tuple[Kind, ...]
    injected: frozenset[str] = frozenset()
    platform: tuple[str, ...] = ()
    shapes: Map[str, tuple[Place, ...]] = field(default_factory=dict, repr=False, compare=False)
    accelerators: Accelerators = field(default_factory=Accelerators)
    by_kind: Map[str, tuple[Kind, ...]] = field(init=False, repr=False, compare=False)
    keep: Keep = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_kind: dict[str, tuple[Kind, ...]] = {}
        for row in self.rows:
            for kind in row.kinds or {""}:
                by_kind[kind] = (*by_kind.get(kind, ()), row)
        object.__setattr__(self, "by_kind", by_kind)
        object.__setattr__(self, "keep", paths.keep(_ALWAYS, *self._paths()))

    def _paths(self) -> Iterator[str]:
        """Every path of the table."""
        yield from self.accelerators.resources
        for row in self.rows:
            yield from row.has
            yield from (refusal.at for refusal in row.refuse)
            for place in row.places:
                yield from _paths(place)

    def find(self, root: Node, filename: str = "-") -> Kind | None:
        """The first row that the object belongs to, or None when the table has none."""
        kind, api_version = text_at(root, "kind"), text_at(root, "apiVersion")
        for row in (*self.by_kind.get(kind or "", ()), *self.by_kind.get("", ())):
            if row.fits(root, kind, api_version, filename):
                return row
        return None


def _paths(place: Place) -> Iterator[str]:
    """Every path that a place, and what its text holds, asks for."""
    yield place.at
    yield from (f'"{key}"' for key, _ in place.parts)
    yield from (path for path in (place.secrets, place.platform) if path)
    if place.platform:
        yield f"{place.platform}.*"
    if place.policy:
        yield f'"{place.policy}"'
    yield from (name[1:] for name in (*place.named, place.expect or "") if name.startswith("$"))
    for inner in place.holds:
        yield from _paths(inner)


def text_at(root: Node, path: str) -> str | None:
    """The text of the scalar that a path leads to; None when there is no such scalar."""
    node = paths.first(root, path)
    return node.text if isinstance(node, Scalar) else None


def join(prefix: str, path: str) -> str:
    """Two paths, one after the other; either may be empty."""
    return f"{prefix}.{path}" if prefix and path else prefix or path
