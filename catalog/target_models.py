"""Targets: registries near other clusters, and how far each version's way to them is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Enum, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.models import Model, Version
from catalog.types import RowId, utcnow

EVERYWHERE = "*"
"""The namespace of a target that every namespace has, unless it has its own of that name."""


class MirrorState(StrEnum):
    """How far the copy of a version is."""

    PENDING = "pending"
    COPYING = "copying"
    DONE = "done"


class Target(Model):
    """A place where a namespace's images are wanted too, such as another cluster.

    `url` is its registry's as `builder.stores.open` reads it; `accelerator` the one that
    is meant there unless something else is asked for; `pull_secret` the name of the secret with
    which that cluster pulls.
    """

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("namespace", "name"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    namespace: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(63))
    url: Mapped[str] = mapped_column(Text)
    accelerator: Mapped[str | None] = mapped_column(String(16))
    pull_secret: Mapped[str | None] = mapped_column(String(253))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    @property
    def prefix(self) -> str:
        """What its image references begin with: HOST[:PORT][/PREFIX]."""
        return self.url.partition("://")[2].rstrip("/")


class Mirror(Model):
    """The copy of a version, all its images and indexes, in a target's registry.

    `due_at` is when to try (again), and while somebody copies, when they are taken for dead;
    `attempt` fences off such a worker. `tries` counts failures, `problem` is the last one's
    sentence, and `copied_bytes` what all of them moved.
    """

    __tablename__ = "mirrors"
    __table_args__ = (UniqueConstraint("target_id", "version_id"), Index(None, "state", "due_at"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    state: Mapped[MirrorState] = mapped_column(
        Enum(
            MirrorState,
            native_enum=False,
            create_constraint=True,
            length=16,
            name="mirrorstate",
            values_callable=lambda members: [member.value for member in members],
        ),
        default=MirrorState.PENDING,
    )
    due_at: Mapped[datetime] = mapped_column(default=utcnow)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(Text)
    problem: Mapped[str] = mapped_column(Text, default="")
    copied_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    done_at: Mapped[datetime | None]

    target: Mapped[Target] = relationship(lazy="joined", innerjoin=True)
    version: Mapped[Version] = relationship(lazy="joined", innerjoin=True)
