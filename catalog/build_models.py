"""Builds and their events, in tables of their own because they change while the rest only grows."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Enum, Float, ForeignKey, Index, Integer, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.models import Environment, Json, Model
from catalog.states import ACTIVE, BuildState, in_order
from catalog.types import utcnow


class EventKind(StrEnum):
    """What an event tells; `done` is always a build's last."""

    STATE = "state"
    PHASE = "phase"
    PROGRESS = "progress"
    LOG = "log"
    WARNING = "warning"
    DONE = "done"


def _column_enum(kind: type[StrEnum]) -> Enum:
    """The values as text with a check: no type of its own for a migration to alter."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=16,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


_IS_ACTIVE = text("state IN ({})".format(", ".join(f"'{value}'" for value in in_order(ACTIVE))))
_IS_STAGED = text("stage IS NOT NULL")


LAYERED = "layered"
"""The lane of builds that any worker may begin."""

ENGINE = "engine"
"""The lane of builds that wait for a worker with a container engine."""


class Lane(Model):
    """A line of builds that wait for one kind of worker; `turn` is that of the last one begun."""

    __tablename__ = "lanes"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    turn: Mapped[float] = mapped_column(Float, default=0.0)


class Build(Model):
    """One run from a request to an image.

    At most one build per `request_key` is active, which a unique partial index holds. `reuse_key`
    is what later requests find the finished version under; it differs from `request_key` for an
    upgrade, which must not join a build that isn't one. `attempt` counts requeues and fences off a
    worker that was taken for dead. `last_seq` is the number of the newest event. `stage` is the
    digest of an image that this build alone builds on, for as long as the store may have it.

    `request_id` and `traceparent` are those of the HTTP request that asked. `tenant`, `weight` and
    what follows are those of `catalog.allowance`; `lane` and `turn` say where it waits and when it
    comes (`catalog.turns`). `stored_bytes` is what it added to the store.
    """

    __tablename__ = "builds"
    __table_args__ = (
        Index(
            "uq_builds_active_request_key",
            "request_key",
            unique=True,
            sqlite_where=_IS_ACTIVE,
            postgresql_where=_IS_ACTIVE,
        ),
        Index(None, "environment_id", "id"),
        Index(None, "state", "id"),
        Index(None, "state", "lane", "turn"),
        Index(None, "tenant", "state"),
        Index(None, "tenant", "created_at"),
        Index(
            "ix_builds_stage",
            "stage",
            sqlite_where=_IS_STAGED,
            postgresql_where=_IS_STAGED,
        ),
    )

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    request: Mapped[Json]
    request_key: Mapped[str] = mapped_column(String(64))
    reuse_key: Mapped[str] = mapped_column(String(64))
    state: Mapped[BuildState] = mapped_column(_column_enum(BuildState), default=BuildState.QUEUED)
    way: Mapped[str | None] = mapped_column(String(16))
    commit: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[Json | None]
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    worker: Mapped[str | None] = mapped_column(Text)
    heartbeat_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    queued_at: Mapped[datetime] = mapped_column(default=utcnow)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(Text, default="")
    image: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str | None] = mapped_column(String(80))
    version: Mapped[int | None] = mapped_column(Integer)
    stats: Mapped[Json | None]
    last_seq: Mapped[int] = mapped_column(Integer, default=0)
    tenant: Mapped[str] = mapped_column(Text, default="", server_default="")
    lane: Mapped[str] = mapped_column(String(63), default=LAYERED, server_default=LAYERED)
    turn: Mapped[float] = mapped_column(Float, default=0.0, server_default="0")
    weight: Mapped[float] = mapped_column(Float, default=1.0, server_default="1")
    concurrent: Mapped[int | None] = mapped_column(Integer)
    build_seconds: Mapped[float | None] = mapped_column(Float)
    image_bytes: Mapped[int | None] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(64))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    stage: Mapped[str | None] = mapped_column(String(80))

    environment: Mapped[Environment] = relationship(lazy="joined", innerjoin=True)


class Event(Model):
    """Something a build told, numbered 1, 2, 3… within the build and never changed."""

    __tablename__ = "events"

    build_id: Mapped[str] = mapped_column(ForeignKey("builds.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(default=utcnow)
    kind: Mapped[EventKind] = mapped_column(_column_enum(EventKind))
    phase: Mapped[str] = mapped_column(String(64), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    data: Mapped[Json] = mapped_column(default=dict)
