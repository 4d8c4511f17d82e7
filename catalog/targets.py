"""Targets: added by the operator for a namespace or for all, and found by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from catalog import names
from catalog.errors import InvalidNameError, TargetNotFoundError
from catalog.models import Environment, Version
from catalog.target_models import EVERYWHERE, Mirror, Target
from catalog.types import utcnow
from catalog.upsert import insert_or_update

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


def add(
    session: Session,
    namespace: str,
    name: str,
    url: str,
    *,
    accelerator: str | None = None,
    pull_secret: str | None = None,
) -> Target:
    """Add a target, or change the one that is there; its registry lacks all if that is new.

    Raises InvalidNameError.
    """
    if namespace != EVERYWHERE:
        names.split(f"{namespace}/x")
    if not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"The target's name {name[:80]!r} must be lower-case letters, digits and inner hyphens,"
            " 63 at most."
        )
    before = session.scalar(
        select(Target.url).where(Target.namespace == namespace, Target.name == name)
    )
    insert_or_update(
        session,
        Target,
        {
            "namespace": namespace,
            "name": name,
            "url": url,
            "accelerator": accelerator,
            "pull_secret": pull_secret,
            "created_at": utcnow(),
        },
        key=("namespace", "name"),
        update=("url", "accelerator", "pull_secret"),
    )
    target = _exact(session, namespace, name)
    if before not in (None, url):
        session.execute(delete(Mirror).where(Mirror.target_id == target.id))
    return target


def listing(session: Session, namespace: str | None = None) -> Sequence[Target]:
    """The targets by namespace and name; of one namespace those that it has."""
    statement = select(Target).order_by(Target.namespace, Target.name)
    if namespace is None:
        return session.scalars(statement).all()
    own = session.scalars(statement.where(Target.namespace.in_((EVERYWHERE, namespace)))).all()
    found = {target.name: target for target in own if target.namespace == EVERYWHERE}
    found |= {target.name: target for target in own if target.namespace == namespace}
    return sorted(found.values(), key=lambda target: target.name)


def find(session: Session, namespace: str, name: str) -> Target:
    """The target of that name that a namespace has; raises TargetNotFoundError."""
    have = listing(session, namespace)
    for target in have:
        if target.name == name:
            return target
    known = ", ".join(target.name for target in have) or "none"
    raise TargetNotFoundError(
        f"{namespace} has no target {name[:80]!r}, it has {known}; whoever runs this server adds "
        "one with `kitbag-server target add`."
    )


def remove(session: Session, namespace: str, name: str) -> None:
    """Forget a target and what is in its registry, which stays there; raises TargetNotFoundError.

    A worker that copies to it learns so at its next sign of life.
    """
    target = _exact(session, namespace, name)
    session.execute(delete(Mirror).where(Mirror.target_id == target.id))
    session.execute(delete(Target).where(Target.id == target.id))


def retry(session: Session, namespace: str, name: str) -> None:
    """Have what waits for another try at this target tried now; raises TargetNotFoundError."""
    target = _exact(session, namespace, name)
    session.execute(
        update(Mirror)
        .where(Mirror.target_id == target.id, Mirror.worker.is_(None), Mirror.done_at.is_(None))
        .values(due_at=utcnow())
        .execution_options(synchronize_session=False)
    )


def newest(target: Target) -> Select[Version]:
    """The latest version of each environment that has this target, or would but for its own."""
    statement = select(Version).join(
        Environment,
        (Environment.id == Version.environment_id) & (Environment.last_version == Version.number),
    )
    if target.namespace == EVERYWHERE:
        own = select(Target.namespace).where(Target.name == target.name)
        return statement.where(Environment.namespace.not_in(own))
    return statement.where(Environment.namespace == target.namespace)


def _exact(session: Session, namespace: str, name: str) -> Target:
    target = session.scalars(
        select(Target)
        .where(Target.namespace == namespace, Target.name == name)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if target is None:
        raise TargetNotFoundError(
            f"There is no target {name[:80]!r} of {namespace[:63]}; see `kitbag-server target ls`."
        )
    return target
