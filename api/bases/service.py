"""What the bases' routes do."""

from __future__ import annotations

from sqlalchemy import Engine

from api.bases.schemas import BaseList, BaseOut
from catalog import bases
from catalog.engine import reading


def every(engine: Engine) -> BaseList:
    """What each name means now."""
    with reading(engine) as session:
        return BaseList(items=[BaseOut.of(base) for base in bases.every(session)])


def get(engine: Engine, name: str) -> BaseOut:
    """What the name means now; raises BaseNotFoundError."""
    with reading(engine) as session:
        return BaseOut.of(bases.get(session, name))
