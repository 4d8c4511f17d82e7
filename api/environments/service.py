"""What the environments' routes do."""

from __future__ import annotations

from sqlalchemy import Engine

from api.environments.schemas import (
    DiffOut,
    EnvironmentOut,
    EnvironmentPage,
    Resolved,
    VersionOut,
    VersionPage,
    WholeVersion,
)
from catalog import diff, environments, versions
from catalog.engine import reading, writing


def page(
    engine: Engine, *, query: str, namespace: str | None, after: str | None, limit: int
) -> EnvironmentPage:
    """A page of environments."""
    with reading(engine) as session:
        found = environments.search(
            session, query=query, namespace=namespace, after=after, limit=limit + 1
        )
        items = [EnvironmentOut.of(*row) for row in found[:limit]]
    return EnvironmentPage(items=items, next=items[-1].name if len(found) > limit else None)


def get(engine: Engine, name: str) -> EnvironmentOut:
    """One environment; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        environment = environments.get(session, name)
        latest = versions.find(session, name) if environment.last_version else None
        return EnvironmentOut.of(environment, latest)


def history(engine: Engine, name: str, *, before: int | None, limit: int) -> VersionPage:
    """A page of versions; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        found = versions.history(session, name, before=before, limit=limit + 1)
        items = [VersionOut.of(version) for version in found[:limit]]
    return VersionPage(items=items, next=items[-1].number if len(found) > limit else None)


def version(engine: Engine, name: str, wanted: str) -> WholeVersion:
    """One version with all that is in it; raises like `catalog.versions.find`."""
    with reading(engine) as session:
        found = versions.find(session, name, wanted, whole=True)
        return WholeVersion.whole(found, versions.lock_text(session, found))


def compare(engine: Engine, name: str, before: str, after: str) -> DiffOut:
    """What changes from one version to the other; raises like `catalog.versions.find`."""
    with reading(engine) as session:
        old = versions.find(session, name, before, whole=True)
        new = versions.find(session, name, after, whole=True)
        return DiffOut.of(diff.versions(old, new))


def rollback(engine: Engine, name: str, to: str) -> VersionOut:
    """A new version with the image of an old one; raises like `catalog.versions.find`."""
    with writing(engine) as session:
        return VersionOut.of(versions.rollback(session, name, to))


def resolve(engine: Engine, name: str) -> Resolved:
    """What NAMESPACE/NAME[:VERSION] stands for; raises like `catalog.versions.find`."""
    with reading(engine) as session:
        found = versions.resolve(session, name)
        return Resolved(
            environment=found.environment.full_name,
            version=found.number,
            image=found.image,
            digest=found.digest,
        )
