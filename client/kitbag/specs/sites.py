"""Places of images in a document, as they were found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..refs import EnvRef
from .errors import SpecError
from .kinds import Part
from .nodes import Alias, Mapping, Node, Scalar, real


@dataclass(frozen=True, slots=True)
class Site:
    """One place of a user's image: the `image` key of `holder`, whose value may be absent."""

    kind: str
    name: str
    path: str
    container: str
    holder: Mapping
    key: str
    node: Node | None
    environment: EnvRef | None
    part: Part = Part.WHOLE

    @property
    def scalar(self) -> Scalar | None:
        """The scalar that holds the image, through an alias if there is one."""
        node = None if self.node is None else real(self.node)
        return node if isinstance(node, Scalar) else None

    @property
    def alias(self) -> Alias | None:
        """The alias token, when that is what stands at the place."""
        return self.node if isinstance(self.node, Alias) else None

    @property
    def start(self) -> int:
        """Where to point a person at."""
        return self.holder.start if self.node is None else self.node.start


@dataclass(slots=True)
class Findings:
    """What a document holds. `doubts` are refusals that count only when an image is to be set."""

    sites: list[Site] = field(default_factory=list)
    doubts: list[tuple[EnvRef | None, SpecError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    """Every container that could have been asked for by name."""
