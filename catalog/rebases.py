"""Versions that go from one base to another: which there are, and the new ones."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from catalog import holders, mirrors, rollouts
from catalog.models import Environment, Json, Version, VersionImage
from catalog.types import utcnow
from catalog.versions import copied_images


@dataclass(frozen=True, slots=True)
class Rebased:
    """What is new about an image of a rebased version; the rest is that of the version before.

    `index_digest` as in `VersionImage`.
    """

    image: str
    digest: str
    base_name: str
    base_digest: str
    size_bytes: int
    layers: Sequence[Json]
    index_digest: str | None = None


def waiting(
    session: Session, old: str, new_digests: Collection[str], chosen: str
) -> Sequence[tuple[str, int]]:
    """The latest versions on the base `old` (a name or a digest) that aren't on the new digests.

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
        .where(
            exists().where(
                VersionImage.version_id == Version.id,
                or_(VersionImage.base_name == old, VersionImage.base_digest == old),
                VersionImage.base_digest.not_in(new_digests),
            )
        )
        .order_by(Environment.namespace, Environment.name)
    )
    if namespace != "*":
        statement = statement.where(Environment.namespace == namespace)
    if name not in ("", "*"):
        statement = statement.where(Environment.name == name)
    return [(row[0], row[1]) for row in session.execute(statement)]


def add(session: Session, old: Version, facts: Sequence[Rebased]) -> int | None:
    """The number of the new version; None if the old one, loaded whole, isn't the latest any more.

    `facts` are those of its images, in the order of the old ones. Its request key is its own: who
    asks for the old request again gets what they ask for.
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
    images = copied_images(old)
    for image, new in zip(images, facts, strict=True):
        image.image, image.digest, image.index_digest = new.image, new.digest, new.index_digest
        image.base_name, image.base_digest = new.base_name, new.base_digest
        image.size_bytes, image.layers = new.size_bytes, [dict(layer) for layer in new.layers]
    first = images[0]
    on = [new.base_digest for new in facts]
    columns = {column.key for column in Version.__mapper__.column_attrs}
    kept = columns - {"id", "number", "created_at", "created_by"}
    known = {key: getattr(old, key) for key in kept} | {
        "image": first.reference,
        "digest": first.index_digest or first.digest,
        "base_name": first.base_name,
        "base_digest": first.base_digest,
        "size_bytes": first.size_bytes,
        "request_key": _key("request", old.request_key, *on),
        "content_key": _key("content", old.content_key, *on),
        "rebased_from": old.number,
    }
    version = Version(**known, number=number, images=images)
    session.add(version)
    session.flush()
    holders.keep(session, version)
    rollouts.plan(session, version)
    mirrors.plan(session, version)
    return number


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(("rebase", *parts)).encode()).hexdigest()
