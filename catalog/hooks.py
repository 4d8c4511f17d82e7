"""Rules of webhooks, and what deliveries make of branches: one build of a branch at a time.

Pushes that come while a branch is being built only move what is wanted of it; when the build ends,
`settle` begins the next, of the newest commit alone. So the branch's environment ends at the
branch's commit, in whatever order deliveries and builds come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from catalog import aliases, builds, environments, statuses, versions
from catalog.build_models import Build
from catalog.errors import EnvironmentNotFoundError, HookNotFoundError, VersionNotFoundError
from catalog.hook_models import CommitState, CommitStatus, Delivery, Head, Hook
from catalog.ids import new_id
from catalog.models import Version, VersionRef
from catalog.states import ACTIVE, ENDED, BuildState
from catalog.text import storable
from catalog.types import utcnow
from catalog.upsert import insert_missing

_PUSHES_KEPT = 100
_KEEP_DELIVERIES = timedelta(days=30)
_AT_ONCE = 100
TAGS = "refs/tags/"
NEWEST = builds.Reuse(latest=True)


@dataclass(frozen=True, slots=True)
class Push:
    """A branch that moved from one commit to another; `before` is None for a new branch.

    `relevant` says whether anything that makes the environment changed, None if nobody knows.
    """

    ref: str
    branch: str | None
    before: str | None
    after: str
    relevant: bool | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the commit of a push is built: the environment, the request, and its keys.

    `keep_until` is when the environment expires, None for never.
    """

    environment: str
    request: Mapping[str, Any]
    request_key: str
    reuse_key: str
    keep_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a delivery came to: one sentence, and the build if there is one to tell of."""

    told: str
    build_id: str | None = None
    created: bool = False


def add(session: Session, full_name: str, **facts: Any) -> Hook:  # noqa: ANN401 # columns
    """A new rule for the environment, which is made if there is none; raises InvalidNameError."""
    environment = environments.get_or_create(session, full_name)
    hook = Hook(id=new_id(), environment_id=environment.id, **facts)
    session.add(hook)
    session.flush()
    session.refresh(hook)
    return hook


def get(session: Session, hook_id: str) -> Hook:
    """The rule; raises HookNotFoundError."""
    hook = session.get(Hook, hook_id)
    if hook is None:
        raise HookNotFoundError(
            f"There is no webhook {hook_id[:100]!r}; see `kitbag hook ls NS/NAME`."
        )
    return hook


def of(session: Session, full_name: str) -> Sequence[Hook]:
    """The rules of an environment, the oldest first; raises EnvironmentNotFoundError."""
    environment = environments.get(session, full_name)
    statement = select(Hook).where(Hook.environment_id == environment.id).order_by(Hook.id)
    return session.scalars(statement).all()


def remove(session: Session, hook_id: str) -> None:
    """Forget the rule, its branches, and what the forge was still to hear."""
    get(session, hook_id)
    for model in (CommitStatus, Head, Delivery):
        session.execute(delete(model).where(model.hook_id == hook_id))
    session.execute(delete(Hook).where(Hook.id == hook_id))


def taken_before(session: Session, hook_id: str, delivery: str) -> Delivery | None:
    """What came of the delivery, if it was taken already."""
    return session.get(Delivery, (hook_id, delivery[:128]))


def take(session: Session, hook: Hook, delivery: str, event: str, outcome: Outcome) -> None:
    """Remember the delivery in the transaction that does what it asks for, and forget old ones."""
    session.add(
        Delivery(
            hook_id=hook.id,
            delivery=delivery[:128],
            event=event[:64],
            outcome=storable({"told": outcome.told, "build": outcome.build_id}),
        )
    )
    session.execute(delete(Delivery).where(Delivery.received_at < utcnow() - _KEEP_DELIVERIES))
    session.flush()


def push(session: Session, hook: Hook, moved: Push, wanted: Wanted) -> Outcome:
    """Note where the branch is now, and begin a build of it unless one is under way."""
    if wanted.keep_until is not None:
        environments.keep_until(session, wanted.environment, wanted.keep_until)
    head = _head(session, hook, moved.ref, wanted.environment)
    known: list[list[str | None]] = list(head.pushes)  # type: ignore[arg-type]
    head.pushes = [*known, [moved.before, moved.after]][-_PUSHES_KEPT:]  # type: ignore[assignment]
    if head.wanted == moved.after:
        return Outcome(f"{moved.after[:12]} is what is wanted already.", head.build_id)
    overtaken = any(before == moved.after for before, _ in known)
    if overtaken and moved.before != head.wanted:
        return Outcome(f"A later push of {moved.ref} came before this one.", head.build_id)
    under_way = head.build_id is not None and not head.settled
    if moved.relevant is False and not under_way and head.wanted == moved.before:
        same = _same_version(session, head)
        if same is not None:
            aliases.add_commit(session, same, moved.after)
            head.wanted = moved.after
            statuses.tell(session, hook, moved.after, CommitState.SUCCESS, _unchanged(same), None)
            return Outcome(f"Nothing that makes the environment changed: {_unchanged(same)}")
    head.environment, head.wanted = wanted.environment, moved.after
    head.request, head.request_key = dict(wanted.request), wanted.request_key
    head.reuse_key = wanted.reuse_key
    if under_way:
        return Outcome(f"{moved.after[:12]} waits for the build of {moved.ref}.", head.build_id)
    return _begin(session, head)


def tag(session: Session, hook: Hook, moved: Push, wanted: Wanted) -> Outcome:
    """Let the tag's name stand for the version of its commit, once there is one.

    That is built unless it was, or is being built for a branch.
    """
    called = moved.ref.removeprefix(TAGS)
    head = _head(session, hook, moved.ref, wanted.environment)
    if head.wanted == moved.after:
        return Outcome(f"{called} is at {moved.after[:12]} already.", head.build_id)
    head.environment, head.wanted = wanted.environment, moved.after
    head.request, head.request_key = dict(wanted.request), wanted.request_key
    head.reuse_key = wanted.reuse_key
    if head.build_id is not None and not head.settled:
        return Outcome(f"{moved.after[:12]} waits for the build of {moved.ref}.", head.build_id)
    version = aliases.at_commit(session, wanted.environment, moved.after)
    if version is not None:
        aliases.point(session, version, called)
        head.building, head.version = moved.after, version.number
        return Outcome(f"{called} is {wanted.environment}:{version.number}.")
    branch = _being_built(session, head)
    if branch is None:
        return _begin(session, head)
    head.build_id, head.building, head.settled = branch.build_id, moved.after, False
    return Outcome(f"{called} waits for the build of {branch.ref}.", head.build_id)


def _being_built(session: Session, head: Head) -> Head | None:
    """Another of the hook whose commit is the same, and is being built for the environment."""
    return session.scalars(
        select(Head)
        .where(
            Head.hook_id == head.hook_id,
            Head.environment == head.environment,
            Head.building == head.wanted,
            Head.settled.is_(False),
            Head.ref != head.ref,
        )
        .limit(1)
    ).one_or_none()


def forget(session: Session, hook: Hook, ref: str, branch: str | None) -> Outcome:
    """The branch or tag is gone: its name leads nowhere, its versions stay.

    The environment of a pull request, which has no branch, expires.
    """
    head = session.get(Head, (hook.id, ref))
    if head is None:
        return Outcome(f"{ref} was never built.")
    if branch is None:
        environments.expire(session, head.environment)
    else:
        environment = environments.get(session, head.environment)
        session.execute(
            delete(VersionRef).where(
                VersionRef.environment_id == environment.id, VersionRef.name == storable(branch)
            )
        )
        environments.touch(session, environment.id)
    if head.build_id is not None and _is_own(session, head):
        builds.request_cancel(session, head.build_id)
    session.delete(head)
    if branch is None:
        return Outcome(f"{ref} is forgotten, and {head.environment} has expired.")
    return Outcome(f"{ref} is forgotten; its versions stay.")


def _is_own(session: Session, head: Head) -> bool:
    """Whether its build is active, and not one of a branch that a tag waits for."""
    build = builds.get(session, str(head.build_id))
    return build.state in ACTIVE and (
        not head.ref.startswith(TAGS) or build.request_key == head.request_key
    )


def has_ended(session: Session) -> bool:
    """Whether `settle` would find anything; without a write lock."""
    return session.scalar(_ended().with_only_columns(Head.hook_id).limit(1)) is not None


def _ended() -> Select[Head]:
    return (
        select(Head)
        .join(Build, Build.id == Head.build_id)
        .where(Head.settled.is_(False), Build.state.in_(ENDED))
    )


def settle(session: Session) -> list[str]:
    """Do what follows from builds that ended; the ids of builds that begin now."""
    ended = session.scalars(
        _ended().limit(_AT_ONCE).with_for_update(of=Head, skip_locked=True)
    ).all()
    begun = []
    for head in ended:
        build = builds.get(session, str(head.build_id))
        head.settled = True
        if build.state is BuildState.READY:
            head.version = build.version
        if head.building is not None:
            _report(session, head.hook, head.building, build)
        if head.ref.startswith(TAGS) and not _named(session, head, build):
            head.building = None  # the branch that it waited for was deleted
        if head.wanted != head.building:
            outcome = _begin(session, head)
            if outcome.created and outcome.build_id is not None:
                begun.append(outcome.build_id)
    return begun


def _named(session: Session, head: Head, build: Build) -> bool:
    """Let a tag's name stand for what was built of its commit; False if somebody ended that.

    A name that moved meanwhile is left to the build that follows.
    """
    if build.state is BuildState.CANCELLED:
        return build.request_key == head.request_key or head.wanted != head.building
    if build.state is BuildState.READY and head.wanted == head.building:
        version = versions.find(session, head.environment, str(build.version))
        aliases.point(session, version, head.ref.removeprefix(TAGS))
    return True


def _head(session: Session, hook: Hook, ref: str, environment: str) -> Head:
    """The branch's row, locked: deliveries of one branch come one after the other."""
    fresh = {"hook_id": hook.id, "ref": ref, "environment": environment}
    insert_missing(session, Head, [fresh | {"settled": True, "pushes": []}])
    return session.scalars(
        select(Head).where(Head.hook_id == hook.id, Head.ref == ref).with_for_update(of=Head)
    ).one()


def _begin(session: Session, head: Head) -> Outcome:
    assert head.request is not None and head.request_key is not None
    build, created = builds.request_build(
        session,
        environment=head.environment,
        request=head.request,
        request_key=head.request_key,
        reuse_key=head.reuse_key or head.request_key,
        reuse=NEWEST,
        created_by=head.hook.created_by,
    )
    head.build_id, head.building, head.settled = build.id, head.wanted, False
    assert head.wanted is not None
    if build.state in ENDED:
        head.settled = True
        head.version = build.version
        _report(session, head.hook, head.wanted, build)
        return Outcome(f"{head.wanted[:12]} was built before.", build.id)
    statuses.tell(session, head.hook, head.wanted, CommitState.PENDING, "Being built.", build.id)
    return Outcome(f"{head.wanted[:12]} is being built.", build.id, created)


def _report(session: Session, hook: Hook, commit: str, build: Build) -> None:
    if build.state is BuildState.READY:
        told = f"{build.environment.full_name}:{build.version} {build.digest}"
        statuses.tell(session, hook, commit, CommitState.SUCCESS, told, build.id)
        return
    why = str((build.error or {}).get("detail", f"The build was {build.state}."))
    statuses.tell(session, hook, commit, CommitState.FAILURE, why, build.id)


def _same_version(session: Session, head: Head) -> Version | None:
    if head.version is None:
        return None
    try:
        return versions.find(session, head.environment, str(head.version))
    except (EnvironmentNotFoundError, VersionNotFoundError):
        return None


def _unchanged(version: Version) -> str:
    return f"{version.environment.full_name}:{version.number} stays."
