"""Which of an environment's images a container gets, by the resources that it asks for."""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .nodes import Node, Scalar
from .path import walk

if TYPE_CHECKING:
    from typing import Self

CPU = "cpu"
_NONE = frozenset({"", "0", "null", "~"})


class Images(str):
    """The image of a version, and in `by` that for each accelerator, this default one first.

    It is a text, so that whoever chooses nothing takes the default.
    """

    by: Map[str, str]

    def __new__(cls, by: Map[str, str]) -> Self:
        made = super().__new__(cls, next(iter(by.values())))
        made.by = dict(by)
        return made


@dataclass(frozen=True, slots=True)
class Accelerators:
    """The table's part about accelerators.

    `names` are how resources begin that mean one, with the accelerator; `resources` are paths from
    what holds an image to the resources that it asks for: amounts by name where the path ends with
    `*`, else the name itself.
    """

    names: tuple[tuple[str, str], ...] = ()
    resources: tuple[str, ...] = ()

    def asked(self, holder: Node) -> tuple[str, str] | None:
        """The accelerator that a container asks for and the resource that says so, if any does."""
        for path in self.resources:
            for hit in walk(holder, path):
                node = hit.real
                text = node.text if isinstance(node, Scalar) else None
                if text is None or text in _NONE:
                    continue
                resource = hit.label if path.endswith("*") else text
                for beginning, accelerator in self.names:
                    if resource.startswith(beginning):
                        return accelerator, resource
        return None

    def choose(self, images: Images, holder: Node) -> tuple[str, str]:
        """The image for what holds it, and why as the end of a sentence."""
        asked = self.asked(holder)
        if asked is None:
            name = CPU if CPU in images.by else next(iter(images.by))
            return images.by[name], f"asks for no accelerator and gets the image for {name}"
        name, resource = asked
        if name in images.by:
            return images.by[name], f"asks for {resource} and gets the image for {name}"
        default = next(iter(images.by))
        return str(images), (
            f"asks for {resource}, and there is no image for {name}: it gets that for {default}"
        )
