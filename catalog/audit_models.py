"""Who did what: a table that only grows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from catalog.models import Model
from catalog.types import RowId, utcnow


class AuditLine(Model):
    """A request that changed something, or would have; the database refuses to change or delete it.

    `action` is what the API calls it, `target` the path, `subject` the environment or pattern that
    it was about, `made` the path of what came of it or the slug of the problem that refused it.
    """

    __tablename__ = "audit"
    __table_args__ = (Index(None, "user", "id"), Index(None, "subject", "id"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utcnow)
    user: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(32))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    target: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    status: Mapped[int] = mapped_column(Integer)
    made: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(String(64))
