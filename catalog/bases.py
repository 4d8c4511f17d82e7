"""Bases by name and platform: the current ones, and what the names meant before."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog.errors import BaseNotFoundError
from catalog.models import Base, Json
from catalog.types import utcnow
from catalog.upsert import insert_or_update

_ATTEMPTS = 5
USUAL_PLATFORM = "linux/amd64"
"""What a name means where nobody says for which platform, if there is one."""


def add(session: Session, *, name: str, digest: str, image: str, record: Json) -> Base:
    """Make this digest what the name means on its platform; the one before stays in the history.

    `record` is the JSON value of `builder.model.Base`.
    """
    known = record.get("platform")
    platform = f"{known['os']}/{known['arch']}" if known else USUAL_PLATFORM
    row = {
        "name": name,
        "platform": platform,
        "digest": digest,
        "image": image,
        "record": dict(record),
        "current": True,
        "created_at": utcnow(),
    }
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with session.begin_nested():
                session.execute(
                    update(Base)
                    .where(
                        Base.name == name,
                        Base.platform == platform,
                        Base.digest != digest,
                        Base.current,
                    )
                    .values(current=False)
                    .execution_options(synchronize_session=False)
                )
                insert_or_update(
                    session,
                    Base,
                    row,
                    key=("name", "digest"),
                    update=("image", "record", "current", "created_at"),
                )
            break
        except IntegrityError:
            # Another process made its own base current between the two statements.
            if attempt == _ATTEMPTS:
                raise
    return get(session, name, platform)


def current(session: Session, name: str, platform: str | None = None) -> Base | None:
    """What the name means now on a platform, or on the usual one or else any; None for nothing."""
    statement = select(Base).where(Base.name == name, Base.current)
    if platform is not None:
        statement = statement.where(Base.platform == platform)
    return session.scalars(
        statement.order_by(Base.platform != USUAL_PLATFORM, Base.platform)
        .limit(1)
        .execution_options(populate_existing=True)
    ).one_or_none()


def get(session: Session, name: str, platform: str | None = None) -> Base:
    """What the name means now, as `current` says; raises BaseNotFoundError."""
    base = current(session, name, platform)
    if base is None:
        where = f" for {platform}" if platform else ""
        raise BaseNotFoundError(
            f"There is no base {name[:200]!r}{where}; see the list of bases, or add one with "
            "'kitbag-server base add'."
        )
    return base


def with_digest(session: Session, digest: str) -> Base | None:
    """The base of that digest, whatever its name means now; None if it was never added."""
    return session.scalars(
        select(Base).where(Base.digest == digest).order_by(Base.id.desc()).limit(1)
    ).one_or_none()


def meant(session: Session, wanted: str) -> Base:
    """The base of a name or a digest; raises BaseNotFoundError."""
    found = with_digest(session, wanted) if wanted.startswith("sha256:") else None
    return found or get(session, wanted)


def all_meant(session: Session, wanted: str) -> Sequence[Base]:
    """The base of a digest, or those of a name on its platforms; raises BaseNotFoundError."""
    first = meant(session, wanted)
    if wanted.startswith("sha256:"):
        return [first]
    return session.scalars(
        select(Base).where(Base.name == first.name, Base.current).order_by(Base.platform)
    ).all()


def every(session: Session) -> Sequence[Base]:
    """The current base of each name and platform, by name."""
    return session.scalars(
        select(Base)
        .where(Base.current)
        .order_by(Base.name, Base.platform != USUAL_PLATFORM, Base.platform)
    ).all()


def history(session: Session, name: str) -> Sequence[Base]:
    """All that the name ever meant, the newest first."""
    return session.scalars(
        select(Base).where(Base.name == name).order_by(Base.created_at.desc(), Base.id.desc())
    ).all()
