"""What is to be done so that an object runs an image: a decision, and nothing is touched."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..refs import ANNOTATION, EnvRef
from ..specs import ImageRef, Kinds, SpecError, builtin
from ..specs.lives import Effect, Live, rule
from . import choices
from .objects import COPY_OF, Json, Place, Ref, origin_of, places, renamed, root, with_images
from .told import following


class Action(enum.Enum):
    """What is to be done."""

    NOTHING = "nothing"
    """It runs the image already."""
    PATCH = "patch"
    """Its images are changed in place."""
    APPEND = "append"
    """A choice is added, and those it replaces are redirected to it."""
    CLONE = "clone"
    """A copy with the image is made under a new name."""
    WAIT = "wait"
    """A change would end what runs in it: later, or at once if whoever asks says so."""
    SKIP = "skip"
    """It isn't to be changed: it has ended, or something else makes it."""
    CANT = "cant"
    """A person must do it; the sentence says what."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The image, and the version NS/NAME:NUMBER that it is, where it is one.

    A version may have an image for each accelerator: `successors` says by the digest of an image of
    any version which one takes its place; None where this version has none for that accelerator.
    """

    image: str
    version: EnvRef | None = None
    successors: Mapping[str, str | None] = field(default_factory=dict)

    def instead_of(self, image: str | None) -> str | None:
        """What takes the place of an image; None if the version has nothing for it."""
        return self.successors.get((image or "").partition("@")[2], self.image)

    @property
    def suffix(self) -> str:
        """What new names end with: the version's number, else the digest's first digits."""
        if self.version is not None and self.version.number:
            return f"v{self.version.number}"
        digest = (ImageRef.parse(self.image).digest or "").rpartition(":")[2]
        return f"d{digest[:10]}" if digest else "new"


@dataclass(frozen=True, slots=True)
class Choices:
    """What whoever asks allows: to end what runs in a notebook, to start a copy of a job.

    `named` says that the object was asked for by name, and not found by a selector; `container` is
    the user's where the kind doesn't decide.
    """

    restart: bool = False
    clone: bool = False
    named: bool = True
    container: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, in a sentence for a person; `after` is the object, `paths` what differs.

    `before` are the user's images that are to be replaced.
    """

    action: Action
    say: str
    before: tuple[str, ...] = ()
    after: Mapping[str, Any] = field(default_factory=dict, repr=False)
    paths: tuple[str, ...] = ()


def decide(
    item: Json,
    wanted: Wanted,
    choice: Choices = Choices(),
    *,
    pods: Callable[[str], int] = lambda _: 0,
    kinds: Kinds | None = None,
) -> Decision:
    """The decision for an object as the API server shows it.

    `pods` counts the pods that have a label with the object's name and haven't ended; it is asked
    where the kind needs it. Raises what `pods` raises.
    """
    table = kinds or builtin()
    try:
        return _decide(item, wanted, choice, pods, table)
    except SpecError as error:
        return Decision(Action.CANT, error.sentence)


def _decide(
    item: Json, wanted: Wanted, choice: Choices, pods: Callable[[str], int], table: Kinds
) -> Decision:
    ref = Ref.of(item)
    node = root(item)
    row = table.find(node)
    if row is None or not row.live:
        return Decision(
            Action.CANT,
            f"the table of kinds doesn't say how a {ref.kind} changes; give its row a `live`",
        )
    owner = owner_of(item)
    if owner:
        return Decision(Action.SKIP, f"{owner} makes it, so that is what has to change")
    other = _meant_otherwise(item, wanted)
    if other:
        return Decision(Action.SKIP, f"its {ANNOTATION} says {other}")
    live = rule(row.live, node, pods)
    if live is None:
        return Decision(Action.CANT, f"no rule of the table of kinds fits this {ref.kind}")
    if live.change is Effect.APPENDS:
        return _append(item, wanted)
    sites = _sites(item, wanted, choice, table)
    if isinstance(sites, Decision):
        return sites
    if any(wanted.instead_of(site.image) is None for site in sites):
        return Decision(Action.CANT, _lacking(wanted))
    stale = [site for site in sites if site.image != wanted.instead_of(site.image)]
    if not stale:
        return Decision(Action.NOTHING, "it runs this image already")
    return _changed(item, wanted, choice, live, stale)


def _changed(
    item: Json, wanted: Wanted, choice: Choices, live: Live, stale: list[Place]
) -> Decision:
    ref = Ref.of(item)
    before = tuple(dict.fromkeys(site.image or "no image" for site in stale))
    images = {site.path: wanted.instead_of(site.image) for site in stale}
    changes = images | following(item, images, wanted.version)
    paths = tuple(changes)
    after = with_images(item, changes)
    if live.change is Effect.ENDED:
        return Decision(Action.SKIP, "it has ended; what starts next is to have the image", before)
    if live.change is Effect.RESTARTS and not choice.restart:
        return Decision(
            Action.WAIT,
            f"a new image would end what runs in it: {live.say or 'wait for its end'}, or ask again"
            " with --restart",
            before,
        )
    if live.change in (Effect.ROLLS, Effect.LATER, Effect.RESTARTS):
        say = {
            Effect.ROLLS: "its pods are replaced one after the other",
            Effect.LATER: live.say or "what starts next has the image",
            Effect.RESTARTS: "what runs in it begins again",
        }[live.change]
        return Decision(Action.PATCH, say, before, after, paths)
    why = (
        "it runs, and a change would mix two images in it"
        if live.change is Effect.MIXES
        else f"a {ref.kind} can't change its image"
    )
    if not live.clone:
        return Decision(Action.CANT, f"{why}: {live.say}", before)
    if not choice.clone:
        return Decision(Action.CANT, f"{why}: {live.say}, or ask for a copy with --clone", before)
    copied = renamed(after, wanted.suffix, live.drop)
    name = copied["metadata"]["name"]
    return Decision(Action.CLONE, f"{why}; its copy is {name}", before, copied)


def _append(item: Json, wanted: Wanted) -> Decision:
    if not choices.offered(item, wanted.image):
        name = ImageRef.parse(wanted.image).name
        return Decision(
            Action.CANT,
            f"none of its images is of {name}: add a choice with {wanted.image} once",
        )
    if any(wanted.instead_of(image) is None for image in choices.offered(item, wanted.image)):
        return Decision(Action.CANT, _lacking(wanted))
    after = choices.appended(item, wanted.image, wanted.instead_of, wanted.suffix)
    if after is None:
        return Decision(Action.NOTHING, "it offers this image already")
    old = (choices.LIST + ".values",)
    return Decision(
        Action.APPEND,
        "a choice is added; workspaces have it when they are restarted",
        after=after,
        paths=(*old, *_default(item, after)),
    )


def _default(item: Json, after: Json) -> tuple[str, ...]:
    """The path of the default choice, where it changes."""

    def of(one: Json) -> object:
        config = one["spec"]["podTemplate"]["options"]["imageConfig"]
        return config.get("spawner", {}).get("default")

    return () if of(item) == of(after) else (choices.LIST + ".spawner.default",)


def _sites(item: Json, wanted: Wanted, choice: Choices, table: Kinds) -> list[Place] | Decision:
    """The images that are to be the wanted one: those of its environment, if there are any."""
    everything, doubt = places(item, table, choice.container)
    ours = [place for place in everything if _belongs(place.image, wanted)]
    if ours:
        return ours
    if not everything:
        return Decision(Action.CANT, "no container in it is one that Kitbag knows for the user's")
    if not choice.named and annotated(item) is None:
        return Decision(
            Action.SKIP,
            f"it runs no image of {_title(wanted)}: ask for it by name, or annotate it with"
            f" {ANNOTATION}",
        )
    if doubt is not None:
        raise doubt
    return everything


def _belongs(image: str | None, wanted: Wanted) -> bool:
    """Whether an image is one of the wanted one's repository, or a reference to its environment.

    By its digest it is one of the environment's wherever it is pulled from.
    """
    if not image:
        return False
    try:
        if image.startswith("kitbag://"):
            ours = wanted.version
            return ours is not None and EnvRef.parse(image).environment == ours.environment
        found = ImageRef.parse(image)
        return found.digest in wanted.successors or (
            found.name == ImageRef.parse(wanted.image).name
        )
    except ValueError:
        return False


def annotated(item: Json) -> EnvRef | None:
    """The environment that the object's annotation, or else its label, names."""
    metadata = item.get("metadata") or {}
    for place in ("annotations", "labels"):
        text = (metadata.get(place) or {}).get(ANNOTATION)
        if text:
            try:
                return EnvRef.parse_label(str(text))
            except ValueError:
                return None
    return None


def _meant_otherwise(item: Json, wanted: Wanted) -> str | None:
    """What the object's annotation says, if that is another environment or a version it stays at.

    Without a version, or with `latest`, it goes with every new one.
    """
    said, version = annotated(item), wanted.version
    if said is None or version is None:
        return None
    if said.environment == version.environment and said.version in (
        None,
        "latest",
        version.version,
    ):
        return None
    return str(said)


def _lacking(wanted: Wanted) -> str:
    return (
        f"{wanted.version or wanted.image} has no image for the accelerator of the one that runs"
        " in it: build it for that too"
    )


def _title(wanted: Wanted) -> str:
    return wanted.version.environment if wanted.version else wanted.image


def owner_of(item: Json) -> str | None:
    """What controls the object, as KIND NAME."""
    for owner in (item.get("metadata") or {}).get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner.get('kind')} {owner.get('name')}"
    return None


def is_copy_of(item: Json, origin: Json) -> bool:
    """Whether an object is the copy that `decide` made of another, or of what that is a copy of."""
    annotations = (item.get("metadata") or {}).get("annotations") or {}
    return annotations.get(COPY_OF) == origin_of(origin)
