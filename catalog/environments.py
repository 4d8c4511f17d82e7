"""Environments: made at their first build, listed and searched by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select, tuple_, update
from sqlalchemy.orm import Session, contains_eager

from catalog import names
from catalog.errors import EnvironmentNotFoundError, InvalidNameError
from catalog.models import Environment, Namespace, Version
from catalog.types import utcnow
from catalog.upsert import insert_missing


@dataclass(frozen=True, slots=True)
class Offered:
    """The version that an environment is offered in."""

    number: int
    image: str
    python: str


def get_or_create(session: Session, full_name: str) -> Environment:
    """The environment of that name, made if there is none; raises InvalidNameError."""
    namespace, name = names.split(full_name)
    found = _by_name(session, namespace, name)
    if found is None:
        now = utcnow()
        insert_missing(session, Namespace, [{"name": namespace, "created_at": now}])
        insert_missing(
            session,
            Environment,
            [
                {
                    "namespace": namespace,
                    "name": name,
                    "description": "",
                    "last_version": 0,
                    "created_at": now,
                    "updated_at": now,
                }
            ],
        )
        found = _by_name(session, namespace, name)
    if found is None:
        raise RuntimeError(f"The environment {full_name} vanished while it was made.")
    return found


def get(session: Session, full_name: str) -> Environment:
    """The environment of that name; raises EnvironmentNotFoundError, also for impossible names."""
    namespace, _, name = full_name.partition("/")
    found = _by_name(session, namespace, name)
    if found is None:
        raise missing(full_name)
    return found


def missing(full_name: str) -> EnvironmentNotFoundError:
    """What whoever asks for an environment is told where there is none for them."""
    return EnvironmentNotFoundError(
        f"There is no environment {full_name[:200]!r}; list the environments to find its name."
    )


def _by_name(session: Session, namespace: str, name: str) -> Environment | None:
    return session.scalars(
        select(Environment).where(Environment.namespace == namespace, Environment.name == name)
    ).one_or_none()


def offer(session: Session, full_name: str, offered: bool) -> None:
    """Offer it where notebooks start, or no longer; raises EnvironmentNotFoundError."""
    get(session, full_name).offered = offered


def offered(session: Session) -> dict[str, Offered]:
    """The newest version of each environment that is offered and has one, by name."""
    found = session.execute(
        select(
            Environment.namespace, Environment.name, Version.number, Version.image, Version.python
        )
        .join(
            Version,
            and_(
                Version.environment_id == Environment.id,
                Version.number == Environment.last_version,
            ),
        )
        .where(Environment.offered)
        .order_by(Environment.namespace, Environment.name)
    )
    return {
        f"{namespace}/{name}": Offered(number, image, python)
        for namespace, name, number, image, python in found
    }


def keep_until(session: Session, full_name: str, moment: datetime) -> Environment:
    """The environment, made if there is none, which is of use until then and no longer expired.

    Raises InvalidNameError.
    """
    environment = get_or_create(session, full_name)
    environment.expires_at = moment
    if environment.expired:
        environment.expired = False
        environment.updated_at = utcnow()
    session.flush()
    return environment


def expire(session: Session, full_name: str) -> None:
    """Its names stand for nothing from now on; nothing if there is no such environment."""
    namespace, _, name = full_name.partition("/")
    environment = _by_name(session, namespace, name)
    if environment is not None and not environment.expired:
        now = utcnow()
        environment.expires_at, environment.expired, environment.updated_at = now, True, now
        session.flush()


def has_due(session: Session) -> bool:
    """Whether `expire_due` would find anything; without a write lock."""
    return session.scalar(select(Environment.id).where(_is_over()).limit(1)) is not None


def expire_due(session: Session) -> Sequence[str]:
    """Expire all whose time is over; their names."""
    found = session.execute(
        update(Environment)
        .where(_is_over())
        .values(expired=True, updated_at=utcnow())
        .returning(Environment.namespace, Environment.name)
        .execution_options(synchronize_session=False)
    ).all()
    return [f"{namespace}/{name}" for namespace, name in found]


def expired(session: Session) -> Sequence[Environment]:
    """Those that are expired, whose versions nobody can ask for by name."""
    statement = select(Environment).where(Environment.expired).order_by(Environment.id)
    return session.scalars(statement).all()


def _is_over() -> ColumnElement[bool]:
    return (Environment.expires_at <= utcnow()) & Environment.expired.is_(False)


def search(
    session: Session,
    *,
    query: str = "",
    namespace: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Sequence[tuple[Environment, Version | None]]:
    """Environments in the order of their names with their newest versions, after the name `after`.

    `query` is a part of NAMESPACE/NAME in any case.
    """
    statement = (
        select(Environment, Version)
        .outerjoin(
            Version,
            and_(
                Version.environment_id == Environment.id,
                Version.number == Environment.last_version,
            ),
        )
        # Left to itself the version would join its environment again, with an inner join.
        .options(contains_eager(Version.environment))
        .order_by(Environment.namespace, Environment.name)
        .limit(limit)
    )
    if namespace is not None:
        statement = statement.where(Environment.namespace == namespace)
    if query:
        full_name = Environment.namespace + "/" + Environment.name
        statement = statement.where(full_name.icontains(query, autoescape=True))
    if after is not None:
        before_namespace, _, before_name = after.partition("/")
        statement = statement.where(
            tuple_(Environment.namespace, Environment.name) > tuple_(before_namespace, before_name)
        )
    return [(row[0], row[1]) for row in session.execute(statement)]


def touch(session: Session, environment_id: int) -> None:
    """Change the environment's stamp, as everything does that moves or takes away a name."""
    session.execute(
        update(Environment).where(Environment.id == environment_id).values(updated_at=utcnow())
    )


Stamp = tuple[int, datetime]
"""What changes whenever a name of the environment stands for something else."""


def stamps(session: Session, full_names: Sequence[str]) -> dict[str, Stamp]:
    """The stamps of those of the environments that there are, by one question.

    Whoever adds a version, or moves a name (`touch`), writes the environment's row in the same
    transaction: what was read before a stamp is still so while the stamp is the same.
    """
    pairs = []
    for each in full_names:
        with suppress(InvalidNameError):
            pairs.append(names.split(each))
    columns = (
        Environment.namespace, Environment.name, Environment.last_version, Environment.updated_at
    )  # fmt: skip
    rows = session.execute(
        select(*columns).where(tuple_(Environment.namespace, Environment.name).in_(pairs))
    )
    return {f"{row[0]}/{row[1]}": (row[2], row[3]) for row in rows}
