"""The names of all packages that the versions of each namespace hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.models import PackageName
from catalog.upsert import insert_missing


def keep(session: Session, namespace: str, names: Iterable[str]) -> None:
    """Remember the names; in one order, so that two builds don't wait for each other."""
    rows = [{"namespace": namespace, "name": name[:255]} for name in sorted(set(names))]
    insert_missing(session, PackageName, rows)


def beginning_with(session: Session, prefix: str, limit: int) -> Sequence[str]:
    """At most `limit` names that begin with `prefix`, in order."""
    statement = select(PackageName.name).where(PackageName.name.startswith(prefix, autoescape=True))
    return session.scalars(statement.distinct().order_by(PackageName.name).limit(limit)).all()
