"""The image that a build with an engine builds on: it goes from the store when the build ends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from sqlalchemy.exc import SQLAlchemyError

from builder.engines.protocol import STAGES
from builder.errors import BuildError, NoDeletesError
from catalog import builds, stages
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.states import ENDED
from worker.patience import patiently
from worker.services import Services

log = logging.getLogger(__name__)


def noting(kit: Services, row: Build) -> Callable[[str], None]:
    """What notes the digest of the build's image before the store has it."""

    def note(digest: str) -> None:
        with reading(kit.engine) as session:
            before = builds.get(session, row.id)
        if before.stage not in (None, digest):
            _drop(kit, before)  # of an attempt whose worker died, or of other layers

        def write() -> None:
            with writing(kit.engine) as session:
                stages.note(session, row.id, digest, attempt=row.attempt)

        patiently(write)

    return note


def drop(kit: Services, build_id: str) -> None:
    """Delete the image of a build that ended; what does not work now, the sweep does."""
    try:
        with reading(kit.engine) as session:
            row = builds.get(session, build_id)
        if row.stage is not None and row.state in ENDED:
            _drop(kit, row)
    except SQLAlchemyError:
        log.warning("the stage of build %s is deleted later: no catalog", build_id)


def sweep(kit: Services) -> None:
    """Delete the images of ended builds that are still noted, as a killed worker leaves them."""
    with reading(kit.engine) as session:
        left = stages.left(session)
    for row in left:
        _drop(kit, row)


def _drop(kit: Services, row: Build) -> None:
    assert row.stage is not None
    try:
        kit.store.delete(f"{STAGES}{row.environment.full_name}", [row.stage])
    except NoDeletesError as error:
        _say_once(error.detail)
    except BuildError as error:
        log.warning("the stage of build %s is deleted later: %s", row.id, error.detail)
        return
    with writing(kit.engine) as session:
        stages.forget(session, row.id, row.stage)


@lru_cache(maxsize=16)
def _say_once(detail: str) -> None:
    log.warning("images that engine builds start from stay in the registry: %s", detail)
