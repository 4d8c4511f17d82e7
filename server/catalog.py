"""The catalog's schema, as operators bring it up to date."""

from __future__ import annotations

import re

from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from catalog.engine import migrate as run
from server.errors import CatalogUnreachableError

_NO_TABLE = re.compile(r"no such (table|column)|(relation|column) .* does not exist")


def migrate(url: str) -> None:
    """Bring the schema up to date; raises CatalogUnreachableError."""
    try:
        run(url)
    except (SQLAlchemyError, ValueError, OSError) as error:
        raise unreachable(error) from error


def unreachable(error: Exception) -> CatalogUnreachableError:
    """The error as one sentence, without what SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    if isinstance(error, (ProgrammingError, OperationalError)) and _NO_TABLE.search(str(cause)):
        return CatalogUnreachableError(
            "The catalog has no tables of this release yet; run `kitbag-server migrate`."
        )
    reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
    return CatalogUnreachableError(
        f"The catalog can't be used ({reason.rstrip('.')}); check KITBAG_DATABASE_URL."
    )
