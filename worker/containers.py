"""What dead workers left in the container engine."""

from __future__ import annotations

import logging
import re
import secrets
import time

from builder.errors import EngineUnreachableError
from catalog import builds
from catalog.engine import reading
from catalog.errors import BuildNotFoundError
from catalog.states import RUNNING
from worker.services import Services

log = logging.getLogger(__name__)

_ASIDE = re.compile(r"aside-(\d{1,12})-[0-9a-f]{16}")


def aside_id() -> str:
    """The engine's name for a build that no row of the catalog stands for, such as a base's.

    It holds the time, since nothing else tells whether somebody still works on it.
    """
    return f"aside-{int(time.time())}-{secrets.token_hex(8)}"


def sweep(kit: Services) -> int:
    """Remove what builds left that nobody works on any more; returns how many things.

    An engine that doesn't answer is swept another time. What another server's builds have in the
    same engine, which this catalog doesn't know, stays.
    """
    engine = kit.containers
    if engine is None:
        return 0
    try:
        removed = engine.sweep(lambda build: _alive(kit, build))
    except EngineUnreachableError as error:
        log.warning("the container engine was not swept: %s", error.detail)
        return 0
    if removed:
        log.info("removed %s things that dead builds left in the container engine", removed)
    return removed


def _alive(kit: Services, build: str) -> bool:
    if match := _ASIDE.fullmatch(build):
        return time.time() - int(match[1]) < kit.settings.build_timeout_s
    try:
        with reading(kit.engine) as session:
            return builds.get(session, build).state in RUNNING
    except BuildNotFoundError:
        return True
