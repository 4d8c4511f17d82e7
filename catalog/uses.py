"""What tells an environment's images from others, wherever they run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import environments
from catalog.models import Version, VersionImage
from catalog.rollout_models import Rollout


def images(session: Session, full_name: str) -> Sequence[tuple[int, str]]:
    """Every image that the environment ever had with its version's number, indexes included.

    Raises EnvironmentNotFoundError.
    """
    environment = environments.get(session, full_name)
    rows = session.execute(
        select(Version.number, VersionImage.image, VersionImage.index_digest)
        .join(VersionImage, VersionImage.version_id == Version.id)
        .where(Version.environment_id == environment.id)
        .order_by(Version.number)
    )
    found: list[tuple[int, str]] = []
    for number, image, index_digest in rows:
        found.append((number, image))
        if index_digest is not None:
            found.append((number, f"{image.rpartition('@')[0]}@{index_digest}"))
    return found


def namespaces(session: Session, full_name: str) -> list[str]:
    """Where in a cluster to look for objects: its own namespace, and those of its rollouts."""
    environment = environments.get(session, full_name)
    rolled = session.scalars(
        select(Rollout.namespace).where(Rollout.environment_id == environment.id).distinct()
    )
    return sorted({environment.namespace, *filter(None, rolled)})
