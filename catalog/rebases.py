"""Versions that go from one base to another: which there are, and the new ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from catalog.models import Environment, Json, Version
from catalog.types import utcnow


@dataclass(frozen=True, slots=True)
class Rebased:
    """What is new about a rebased version; the rest is that of the version before."""

    image: str
    digest: str
    base_name: str
    base_digest: str
    size_bytes: int
    layers: Sequence[Json]


def waiting(session: Session, old: str, new_digest: str, chosen: str) -> Sequence[tuple[str, int]]:
    """The latest versions on the base `old` (a name or a digest) that aren't on the new digest.

    `chosen` is NS/NAME, NS/* or * for every one. Gives names with the numbers of the versions.
    """
    namespace, _, name = chosen.partition("/")
    statement = (
        select(Environment.namespace + "/" + Environment.name, Version.number)
        .join(
            Version,
            and_(
                Version.environment_id == Environment.id,
                Version.number == Environment.last_version,
            ),
        )
        .where(or_(Version.base_name == old, Version.base_digest == old))
        .where(Version.base_digest != new_digest)
        .order_by(Environment.namespace, Environment.name)
    )
    if namespace != "*":
        statement = statement.where(Environment.namespace == namespace)
    if name not in ("", "*"):
        statement = statement.where(Environment.name == name)
    return [(row[0], row[1]) for row in session.execute(statement)]


def add(session: Session, old: Version, facts: Rebased) -> int | None:
    """The number of the new version; None if the old one, loaded whole, isn't the latest any more.

    Its request key is its own: who asks for the old request again gets what they ask for.
    """
    number = session.execute(
        update(Environment)
        .where(Environment.id == old.environment_id, Environment.last_version == old.number)
        .values(last_version=Environment.last_version + 1, updated_at=utcnow())
        .returning(Environment.last_version)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if number is None:
        return None
    columns = {column.key for column in Version.__mapper__.column_attrs}
    kept = columns - {"id", "number", "created_at", "created_by"}
    known = {key: getattr(old, key) for key in kept} | {
        "image": facts.image,
        "digest": facts.digest,
        "base_name": facts.base_name,
        "base_digest": facts.base_digest,
        "size_bytes": facts.size_bytes,
        "layers": [dict(layer) for layer in facts.layers],
        "request_key": _key("request", old.request_key, facts.base_digest),
        "content_key": _key("content", old.content_key, facts.base_digest),
        "rebased_from": old.number,
    }
    session.add(Version(**known, number=number))
    session.flush()
    return number


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(("rebase", *parts)).encode()).hexdigest()
