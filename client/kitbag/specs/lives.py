"""What a new image does to an object that is there already: the `live` column of the table."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from .nodes import Node, Scalar
from .path import walk

_FALSE = ("", "false", "null", "~")


class Effect(enum.Enum):
    """What the cluster does when an object's image is changed."""

    ROLLS = "rolls"
    """Its pods are replaced one after the other; nothing is lost."""
    LATER = "later"
    """Nothing runs that has it: what starts next does."""
    RESTARTS = "restarts"
    """What runs in it ends, and begins again with the new image."""
    MIXES = "mixes"
    """Accepted, but only pods that start from now on have it: two digests in one object."""
    APPENDS = "appends"
    """An image in use can't change: a choice is added, and the old one redirected to it."""
    FIXED = "fixed"
    """The API server or the controller refuses it."""
    ENDED = "ended"
    """Nothing will ever run in it again."""


@dataclass(frozen=True, slots=True)
class When:
    """A condition on an object.

    `at` leads somewhere (to more than false or nothing); with `texts` to one of them; with `only`
    each place it leads to says one of them, which holds where it leads nowhere. `no_pods` is a
    label instead: no pod labelled with the object's name is left that hasn't ended.
    """

    at: str = ""
    texts: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    no_pods: str = ""

    def holds(self, root: Node, pods: Callable[[str], int]) -> bool:
        """Whether it does; `pods` counts those with a label that haven't ended."""
        if self.no_pods:
            return pods(self.no_pods) == 0
        found = [hit.real for hit in walk(root, self.at)]
        said = [node.text or "" if isinstance(node, Scalar) else None for node in found]
        if self.only:
            return all(text in self.only for text in said)
        if self.texts:
            return any(text in self.texts for text in said)
        return any(text not in _FALSE for text in said)


@dataclass(frozen=True, slots=True)
class Live:
    """A rule: the `change` that a new image is to an object for which all of `when` holds.

    `say` is what to do, or what happens. `clone` says that a copy under a new name is a way out;
    `drop` are paths that a copy must not have.
    """

    change: Effect
    when: tuple[When, ...] = ()
    say: str = ""
    clone: bool = False
    drop: tuple[str, ...] = ()


def rule(rules: tuple[Live, ...], root: Node, pods: Callable[[str], int]) -> Live | None:
    """The first rule whose conditions hold; None where there is none."""
    for live in rules:
        if all(when.holds(root, pods) for when in live.when):
            return live
    return None
