"""Give one object of a cluster another image, the way that is right for its kind."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..specs import Kinds
from ..specs.path import parse
from .cluster import FIELD_MANAGER, Cluster
from .decide import Action, Choices, Decision, Wanted, decide, is_copy_of
from .errors import (
    AwayError,
    ChangedError,
    ClusterError,
    DeniedError,
    ManagedError,
)
from .fields import cut, known, leading_to, managed, of, union
from .objects import Json, Ref

_TIMES = 5


class State(str, enum.Enum):
    """What became of an object."""

    DONE = "done"
    SAME = "same"
    """It ran the image already."""
    WAITING = "waiting"
    """It is changed once nothing runs in it."""
    SKIPPED = "skipped"
    CONFLICT = "conflict"
    """Somebody else manages the image."""
    CANT = "cant"
    """A person must do it."""
    DENIED = "denied"
    AWAY = "away"
    """The API server doesn't answer."""
    GONE = "gone"
    """There is no such object."""

    @property
    def again(self) -> bool:
        """Whether asking again later is of use."""
        return self in (State.WAITING, State.AWAY)

    @property
    def well(self) -> bool:
        """Whether nothing is left to do."""
        return self in (State.DONE, State.SAME, State.SKIPPED)


_STATES = {
    Action.NOTHING: State.SAME,
    Action.WAIT: State.WAITING,
    Action.SKIP: State.SKIPPED,
    Action.CANT: State.CANT,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an object, in a sentence; `before` are the images that it had.

    `copy` is the name of the copy that was made of it.
    """

    ref: Ref
    state: State
    say: str
    before: tuple[str, ...] = ()
    copy: str | None = None


def change(
    cluster: Cluster,
    ref: Ref,
    wanted: Wanted,
    choice: Choices,
    *,
    force: bool = False,
    dry_run: bool = False,
    kinds: Kinds | None = None,
) -> Result:
    """What became of the object; raises nothing that the cluster says.

    `force` takes fields over from their managers. `dry_run` lets the API server check the change,
    and changes nothing.
    """
    try:
        for _ in range(_TIMES):
            with suppress(ChangedError):
                return _once(cluster, ref, wanted, choice, force, dry_run, kinds)
        return Result(ref, State.AWAY, "others keep changing it: ask again later")
    except AwayError as error:
        return Result(ref, State.AWAY, str(error))
    except DeniedError as error:
        return Result(ref, State.DENIED, str(error))
    except ManagedError as error:
        return Result(ref, State.CONFLICT, str(error))
    except ClusterError as error:
        return Result(ref, State.CANT, str(error))


def _once(
    cluster: Cluster,
    ref: Ref,
    wanted: Wanted,
    choice: Choices,
    force: bool,
    dry_run: bool,
    kinds: Kinds | None,
) -> Result:
    item = _read(cluster, ref)
    if item is None:
        return Result(ref, State.GONE, f"there is no {ref}: it was deleted, or never made")

    def pods(label: str) -> int:
        return cluster.pods(ref.namespace, label, ref.name)

    decision = decide(item, wanted, choice, pods=pods, kinds=kinds)
    if decision.action is Action.CLONE:
        return _clone(cluster, item, decision, dry_run)
    if decision.action in (Action.PATCH, Action.APPEND):
        read = Ref.of(item)
        cluster.apply(read, applied(item, decision), force=force, dry_run=dry_run)
        return Result(ref, State.DONE, decision.say, decision.before)
    return Result(ref, _STATES[decision.action], decision.say, decision.before)


def _read(cluster: Cluster, ref: Ref) -> dict[str, Any] | None:
    """The object, in the API version that we applied it in, if we did: fields have names there."""
    item = cluster.get(ref)
    ours = managed(item, FIELD_MANAGER) if item else []
    if ours and ours[0]["apiVersion"] != ref.api_version:
        return cluster.get(replace(ref, api_version=str(ours[0]["apiVersion"])))
    return item


def applied(item: Json, decision: Decision) -> dict[str, Any]:
    """What to apply: the changed fields, and those that we applied before, which would go else."""
    taken = known(managed(item))
    fields = of(managed(item, FIELD_MANAGER))
    for path in decision.paths:
        fields = union(fields, leading_to(parse(path), decision.after, taken))
    body = cut(decision.after, fields)
    metadata = item["metadata"]
    kept = {
        key: metadata[key] for key in ("name", "namespace", "resourceVersion") if metadata.get(key)
    }
    return {
        **body,
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "metadata": {**body.get("metadata", {}), **kept},
    }


def _clone(cluster: Cluster, item: Mapping[str, Any], decision: Decision, dry_run: bool) -> Result:
    ref, made = Ref.of(item), Ref.of(decision.after)
    there = cluster.get(made)
    if there is None:
        cluster.apply(made, decision.after, dry_run=dry_run)
        return Result(ref, State.DONE, decision.say, decision.before, made.name)
    if is_copy_of(there, item):
        say = f"its copy {made.name} is there already"
        return Result(ref, State.SAME, say, decision.before, made.name)
    say = f"its copy would be {made.name}, which is something else: rename or delete that"
    return Result(ref, State.CANT, say, decision.before)
