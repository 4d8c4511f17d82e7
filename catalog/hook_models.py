"""Webhooks: rules, deliveries, where each branch is, and what the forge is still to hear."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.models import Environment, Json, Model
from catalog.types import utcnow


class Forge(StrEnum):
    """Whose webhooks these are."""

    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    BITBUCKET = "bitbucket"


class CommitState(StrEnum):
    """What a forge is told of a commit."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


class Hook(Model):
    """A rule: pushes to `repository` build the environment, or others derived from its name.

    `repository` is HOST/PATH in lower case, without .git; `url` is what is fetched. `branches` and
    `tags` list {"pattern", "environment"}; the first that fits wins. `options` are what a build
    request may hold beside source and environment. `generation` counts renewals of the secret,
    which is kept nowhere: it follows from the server's key. `status_secret` names the operator's
    secret for the forge's API. Its builds are `created_by` whoever made it.
    """

    __tablename__ = "hooks"

    id: Mapped[str] = mapped_column(String(26), primary_key=True)
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"), index=True)
    forge: Mapped[str] = mapped_column(String(16))
    repository: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    subdir: Mapped[str | None] = mapped_column(Text)
    branches: Mapped[list[Json]]
    tags: Mapped[list[Json]] = mapped_column(default=list)
    pulls: Mapped[bool] = mapped_column(Boolean, default=False)
    options: Mapped[Json] = mapped_column(default=dict)
    status_secret: Mapped[str | None] = mapped_column(String(63))
    generation: Mapped[int] = mapped_column(Integer, default=1)
    created_by: Mapped[str] = mapped_column(Text, default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    environment: Mapped[Environment] = relationship(lazy="joined", innerjoin=True)


class Delivery(Model):
    """A delivery that a hook took, and what came of it, which is the answer to its replays."""

    __tablename__ = "hook_deliveries"
    __table_args__ = (Index(None, "received_at"),)

    hook_id: Mapped[str] = mapped_column(ForeignKey("hooks.id"), primary_key=True)
    delivery: Mapped[str] = mapped_column(String(128), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(default=utcnow)
    event: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[Json] = mapped_column(default=dict)


class Head(Model):
    """Where a branch, a tag or a pull request is, and what is built of it.

    `wanted` is the commit that its environment should come to; `request` and the keys build it.
    `build_id` is the build under way or the last one, of the commit `building`, and `settled` says
    that what followed from its end was done. `pushes` are the last [before, after] pairs, which
    order deliveries that came out of order.
    """

    __tablename__ = "hook_heads"

    hook_id: Mapped[str] = mapped_column(ForeignKey("hooks.id"), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    environment: Mapped[str] = mapped_column(String(127))
    wanted: Mapped[str | None] = mapped_column(String(64))
    request: Mapped[Json | None]
    request_key: Mapped[str | None] = mapped_column(String(64))
    reuse_key: Mapped[str | None] = mapped_column(String(64))
    build_id: Mapped[str | None] = mapped_column(ForeignKey("builds.id"), index=True)
    building: Mapped[str | None] = mapped_column(String(64))
    settled: Mapped[bool] = mapped_column(Boolean, default=True, index=True)
    version: Mapped[int | None] = mapped_column(Integer)
    pushes: Mapped[Json] = mapped_column(default=list)

    hook: Mapped[Hook] = relationship(lazy="joined", innerjoin=True)


class CommitStatus(Model):
    """What the forge is to hear of a commit; only the newest state is sent, until it took it."""

    __tablename__ = "hook_statuses"

    hook_id: Mapped[str] = mapped_column(ForeignKey("hooks.id"), primary_key=True)
    commit: Mapped[str] = mapped_column(String(64), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    description: Mapped[str] = mapped_column(Text, default="")
    build_id: Mapped[str | None] = mapped_column(String(26))
    sent: Mapped[str | None] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_at: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    hook: Mapped[Hook] = relationship(lazy="joined", innerjoin=True)


class CommitAlias(Model):
    """A commit that needed no build: what matters in it is as in the version's own commit."""

    __tablename__ = "commit_aliases"

    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"), primary_key=True)
    commit: Mapped[str] = mapped_column(String(64), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"), index=True)
