"""What a version is at a target."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from catalog import mirrors, targets
from catalog.engine import writing
from catalog.errors import NotMirroredError
from catalog.mirrors import Near
from catalog.models import Version


def near(engine: Engine, session: Session, version: Version, name: str) -> Near:
    """The version's references at the target of that name.

    Raises TargetNotFoundError, and NotMirroredError where it isn't there yet; then a copy that
    nobody planned, of an older version, is planned, and found by the workers' next sweep.
    """
    try:
        return mirrors.near(session, version, name)
    except NotMirroredError as error:
        if not error.planned:
            target = targets.find(session, version.environment.namespace, name)
            with writing(engine) as own:
                mirrors.want(own, version, [target])
        raise
