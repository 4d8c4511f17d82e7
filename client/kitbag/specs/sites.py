"""Places of images in a document, as they were found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..refs import EnvRef
from .errors import SpecError
from .kinds import Part, Place
from .nodes import Alias, Mapping, Node, Scalar, real


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where the pull secrets of a site belong: `key` of `holder`; `plain` where only names do."""

    holder: Mapping
    key: str
    path: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Site:
    """One place of a user's image: the `image` key of `holder`, whose value may be absent.

    `prefix` is what the scalar says before the image. `secrets`, `policy` (a key of `holder`) and
    `platform` (a path of the file's documents) are where what is needed to pull it belongs.
    `successor` is what takes the place of an image that is kept in several keys, this among them.
    """

    kind: str
    name: str
    path: str
    container: str
    holder: Mapping
    key: str
    node: Node | None
    environment: EnvRef | None
    part: Part = Part.WHOLE
    prefix: str = ""
    secrets: Secrets | None = None
    policy: str | None = None
    platform: str | None = None
    successor: str | None = None

    @property
    def scalar(self) -> Scalar | None:
        """The scalar that holds the image, through an alias if there is one."""
        node = None if self.node is None else real(self.node)
        return node if isinstance(node, Scalar) else None

    @property
    def image(self) -> str | None:
        """The image that is there; None when there is none, or it is too long to be one."""
        scalar = self.scalar
        if scalar is None or scalar.text is None:
            return None
        return scalar.text.removeprefix(self.prefix)

    @property
    def alias(self) -> Alias | None:
        """The alias token, when that is what stands at the place."""
        return self.node if isinstance(self.node, Alias) else None

    @property
    def start(self) -> int:
        """Where to point a person at."""
        return self.holder.start if self.node is None else self.node.start


@dataclass(frozen=True, slots=True)
class Text:
    """A string that holds a manifest: `places` are relative to its root, which may be an object.

    `environment`, `kind` and `name` are those of the object that the string is a part of.
    """

    scalar: Scalar
    holder: Mapping
    path: str
    places: tuple[Place, ...]
    kind: str
    name: str
    environment: EnvRef | None
    depth: int


@dataclass(slots=True)
class Findings:
    """What a document holds. `doubts` are refusals that count only when an image is to be set."""

    sites: list[Site] = field(default_factory=list)
    doubts: list[tuple[EnvRef | None, SpecError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    """Every container that could have been asked for by name."""
