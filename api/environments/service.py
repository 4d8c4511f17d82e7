"""What the environments' routes do."""

from __future__ import annotations

from typing import TypeAlias

from sqlalchemy import Engine

from api.auth.principal import Principal
from api.environments.schemas import (
    DiffOut,
    EnvironmentOut,
    EnvironmentPage,
    Resolved,
    VersionOut,
    VersionPage,
    WholeVersion,
)
from api.problems import ProblemError, Slug
from api.settings import ApiSettings
from api.targets import service as targets
from catalog import diff, environments, mirrors, versions
from catalog.engine import reading, writing

Which: TypeAlias = tuple[str | None, str | None]
"""An accelerator and a platform; None for the first that the version has."""
DEFAULT: Which = (None, None)


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


def offer(engine: Engine, settings: ApiSettings, name: str, offered: bool) -> EnvironmentOut:
    """Offer the environment or no longer; raises EnvironmentNotFoundError, and ProblemError where
    nobody would see it."""
    if offered and not settings.keeps_a_list:
        raise ProblemError(
            Slug.NO_CLUSTER,
            "This server keeps no launcher's list; ask its operator for KITBAG_CLUSTER, and "
            "KITBAG_SPAWNER or KITBAG_WORKSPACE_KIND.",
        )
    with writing(engine) as session:
        environments.offer(session, name, offered)
    return get(engine, name)


def history(engine: Engine, name: str, *, before: int | None, limit: int) -> VersionPage:
    """A page of versions; raises EnvironmentNotFoundError."""
    with reading(engine) as session:
        found = versions.history(session, name, before=before, limit=limit + 1)
        items = [VersionOut.of(version) for version in found[:limit]]
    return VersionPage(items=items, next=items[-1].number if len(found) > limit else None)


def version(engine: Engine, name: str, wanted: str, which: Which = DEFAULT) -> WholeVersion:
    """One version with all that is in an image of it; raises like `find` and `image_of` of
    `catalog.versions`."""
    with reading(engine) as session:
        found = versions.find(session, name, wanted, whole=True)
        image = versions.image_of(found, *which)
        lock = versions.lock_text(session, image)
        return WholeVersion.whole(found, image, lock, mirrors.of_version(session, found))


def compare(engine: Engine, name: str, before: str, after: str, which: Which = DEFAULT) -> DiffOut:
    """What changes from an image of one version to that of the other; raises likewise."""
    with reading(engine) as session:
        old = versions.find(session, name, before, whole=True)
        new = versions.find(session, name, after, whole=True)
        pair = versions.image_of(old, *which), versions.image_of(new, *which)
        return DiffOut.of(diff.images(*pair))


def rollback(engine: Engine, who: Principal, name: str, to: str) -> VersionOut:
    """A new version with the image of an old one; raises like `catalog.versions.find`."""
    with writing(engine) as session:
        return VersionOut.of(versions.rollback(session, name, to, created_by=who.user))


def resolve(
    engine: Engine, name: str, accelerator: str | None, target: str | None = None
) -> Resolved:
    """What NAMESPACE/NAME[:VERSION] stands for, here or at a target.

    Raises like `find` and `image_of`, and like `api.targets.service.near`.
    """
    with reading(engine) as session:
        version = versions.resolve(session, name)
        if target is None:
            return Resolved.of(version, accelerator)
        return Resolved.near(targets.near(engine, session, version, target), accelerator)
