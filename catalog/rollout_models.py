"""Rollouts: objects of clusters and git repositories that are to name an environment's image."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, Enum, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.models import Environment, Json, Model, Version
from catalog.types import RowId, utcnow


class RunState(StrEnum):
    """How far one version's way to the objects of a rollout is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SUPERSEDED = "superseded"


class Rollout(Model):
    """What gets each new version of an environment: objects of one namespace of the cluster, or
    files of a git repository.

    `objects` lists {"kind", "name"}; where it is empty, `selector` says which labels
    they have. `acts_as` is the user of the cluster in whose name it is done, empty for the
    environment's service account. `git` is the repository where it is one, as
    `api.rollouts.schemas.GitPlace` has it; None for the cluster.
    """

    __tablename__ = "rollouts"
    __table_args__ = (Index(None, "environment_id", "id"),)

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    namespace: Mapped[str] = mapped_column(String(63))
    selector: Mapped[str] = mapped_column(Text, default="")
    objects: Mapped[list[Json]] = mapped_column(default=list)
    restart: Mapped[bool] = mapped_column(Boolean, default=False)
    clone: Mapped[bool] = mapped_column(Boolean, default=False)
    force_conflicts: Mapped[bool] = mapped_column(Boolean, default=False)
    container: Mapped[str | None] = mapped_column(String(253))
    acts_as: Mapped[str] = mapped_column(Text, default="")
    git: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    environment: Mapped[Environment] = relationship(lazy="joined", innerjoin=True)


class RolloutRun(Model):
    """One version's way to the objects of one rollout; `due_at` is when to try (again).

    `attempt` fences off a worker that was taken for dead; `tries` counts those that left something
    for later. `problem` is why nothing could be done at all.
    """

    __tablename__ = "rollout_runs"
    __table_args__ = (UniqueConstraint("rollout_id", "number"), Index(None, "state", "due_at"))

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    rollout_id: Mapped[int] = mapped_column(ForeignKey("rollouts.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    state: Mapped[RunState] = mapped_column(
        Enum(
            RunState,
            native_enum=False,
            create_constraint=True,
            length=16,
            name="runstate",
            values_callable=lambda members: [member.value for member in members],
        ),
        default=RunState.PENDING,
    )
    due_at: Mapped[datetime] = mapped_column(default=utcnow)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    worker: Mapped[str | None] = mapped_column(Text)
    heartbeat_at: Mapped[datetime | None]
    problem: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    ended_at: Mapped[datetime | None]

    rollout: Mapped[Rollout] = relationship(lazy="joined", innerjoin=True)
    version: Mapped[Version] = relationship(lazy="joined", innerjoin=True)


class RolloutResult(Model):
    """What became of one object in a run; `state` is a value of `kitbag.live.change.State`.

    In a repository that is a file, or the commit or pull request that has them all, of the
    `api_version` git.
    """

    __tablename__ = "rollout_results"

    run_id: Mapped[int] = mapped_column(ForeignKey("rollout_runs.id"), primary_key=True)
    api_version: Mapped[str] = mapped_column(String(317), primary_key=True)
    kind: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(253), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    say: Mapped[str] = mapped_column(Text)
    before: Mapped[Json]
    copy: Mapped[str | None] = mapped_column(String(253))
    at: Mapped[datetime] = mapped_column(default=utcnow)
