"""What goes into a pin and what comes out: targets, changes, findings."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..refs import EnvRef

Resolver: TypeAlias = Callable[[str], "str | None"]
"""`NS/NAME[:VERSION]` in, a digest reference out, None to leave it as it is; what it raises goes
through to the caller.

For a version with images for several accelerators the reference may be `Images`; then each
container gets the one that its resources ask for.
"""


class PullPolicy(enum.Enum):
    """When a node asks the registry: the values of Kubernetes' imagePullPolicy."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class Target:
    """What to pin.

    `image`, which may be `Images` too, is written to every user's container of every known kind.
    `env` is the environment it came from, when it is known. `resolve` answers `kitbag://`
    references and annotations; without it those are left alone, but for the containers that `image`
    is written to. `known` are images that stand for an environment where they are found in a user's
    container, each with what is to be there, which may be `Images`. `successor` says the like of
    any image, None for one that is to stay, and of several containers those are the user's that run
    one which has a successor; an object's annotation goes before it. `annotations` are said, by the
    image that a step gets, about the pods of a KFP pipeline.
    """

    image: str | None = None
    env: EnvRef | None = None
    resolve: Resolver | None = None
    pull_secrets: tuple[str, ...] = ()
    pull_policy: PullPolicy | None = None
    known: Mapping[str, str] = field(default_factory=dict)
    successor: Callable[[str], str | None] | None = None
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One value that was changed: an image, or what is needed to pull it.

    `document` counts from 0, `line` from 1, in the text before.
    """

    document: int
    line: int
    kind: str
    name: str
    path: str
    container: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Found:
    """One image that could be pinned; `image` is None where the key is missing."""

    document: int
    line: int
    kind: str
    name: str
    path: str
    container: str
    image: str | None


@dataclass(frozen=True, slots=True)
class Pinned:
    """The result: the same bytes but for the changes.

    `skipped` are containers that were left alone on purpose, `notes` what else a user should know;
    both are sentences that begin with the line they are about.
    """

    data: bytes
    changes: tuple[Change, ...] = ()
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
