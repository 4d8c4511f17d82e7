"""Lines of who did what: added, and read newest first."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.audit_models import AuditLine
from catalog.text import storable


def add(session: Session, lines: Sequence[AuditLine]) -> None:
    """Keep lines for good."""
    for line in lines:
        line.user, line.target = storable(line.user), storable(line.target)
        line.subject, line.made = storable(line.subject), storable(line.made)
    session.add_all(lines)


def listing(
    session: Session,
    *,
    user: str | None = None,
    subject: str | None = None,
    action: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> Sequence[AuditLine]:
    """Lines with numbers below `before`, the newest first."""
    statement = select(AuditLine)
    for column, wanted in (
        (AuditLine.user, user),
        (AuditLine.subject, subject),
        (AuditLine.action, action),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if before is not None:
        statement = statement.where(AuditLine.id < before)
    return session.scalars(statement.order_by(AuditLine.id.desc()).limit(limit)).all()
