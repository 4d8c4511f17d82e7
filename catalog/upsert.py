"""INSERT … ON CONFLICT, which SQLAlchemy spells differently for each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from catalog.models import Model

# SQLite takes at most 32,766 parameters in a statement.
ROWS_AT_ONCE = 500


def _insert(session: Session, model: type[Model]) -> postgresql.Insert | sqlite.Insert:
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(model)
    return sqlite.insert(model)


def insert_missing(session: Session, model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that aren't there yet; the others stay as they are."""
    for start in range(0, len(rows), ROWS_AT_ONCE):
        statement = _insert(session, model).values(list(rows[start : start + ROWS_AT_ONCE]))
        session.execute(statement.on_conflict_do_nothing())


def insert_many(session: Session, model: type[Model], rows: Sequence[Mapping[str, Any]]) -> None:
    """The same for many small rows: a statement for each, which is made only once."""
    if rows:
        session.execute(_insert(session, model).on_conflict_do_nothing(), rows)


def insert_or_update(
    session: Session,
    model: type[Model],
    *rows: Mapping[str, Any],
    key: Sequence[str],
    update: Sequence[str],
) -> None:
    """Insert the rows, or set the columns `update` of those that have the same `key`.

    No two of the rows may have the same key: PostgreSQL refuses to update a row twice.
    """
    for start in range(0, len(rows), ROWS_AT_ONCE):
        statement = _insert(session, model).values(list(rows[start : start + ROWS_AT_ONCE]))
        session.execute(
            statement.on_conflict_do_update(
                index_elements=list(key),
                set_={column: statement.excluded[column] for column in update},
            )
        )
