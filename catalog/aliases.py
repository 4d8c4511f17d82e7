"""More names of versions: branches, tags, and commits that needed no build."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from catalog import environments
from catalog.hook_models import CommitAlias
from catalog.models import Environment, Version, VersionRef
from catalog.text import storable
from catalog.types import utcnow
from catalog.upsert import insert_or_update


def point(session: Session, version: Version, name: str) -> None:
    """Let a branch's or a tag's name stand for the version."""
    insert_or_update(
        session,
        VersionRef,
        {
            "environment_id": version.environment_id,
            "name": storable(name),
            "version_id": version.id,
            "moved_at": utcnow(),
        },
        key=("environment_id", "name"),
        update=("version_id", "moved_at"),
    )
    environments.touch(session, version.environment_id)


def add_commit(session: Session, version: Version, commit: str) -> None:
    """Let a commit in which nothing that matters is otherwise stand for the version."""
    row = {
        "environment_id": version.environment_id,
        "commit": commit,
        "version_id": version.id,
    }
    key = ("environment_id", "commit")
    insert_or_update(session, CommitAlias, row, key=key, update=("version_id",))
    environments.touch(session, version.environment_id)


def at_commit(session: Session, full_name: str, commit: str) -> Version | None:
    """The newest version of a whole commit, built of it or named by it; None if there is none."""
    namespace, _, name = full_name.partition("/")
    home = select(Environment.id).where(
        Environment.namespace == namespace, Environment.name == name
    )
    of_alias = select(CommitAlias.version_id).where(
        CommitAlias.environment_id.in_(home), CommitAlias.commit == commit
    )
    return session.scalars(
        select(Version)
        .where(
            Version.environment_id.in_(home),
            or_(Version.commit == commit, Version.id.in_(of_alias)),
        )
        .order_by(Version.number.desc())
        .limit(1)
    ).one_or_none()
