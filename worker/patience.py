"""A catalog that is away for a while, as during a restart, costs time and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,  # noqa: A004 # of the pool
)

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 120.0
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 3.0


def away(error: SQLAlchemyError) -> bool:
    """Whether the catalog did not answer, rather than refuse what it was told."""
    return isinstance(error, OperationalError | InterfaceError | TimeoutError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


def patiently(
    act: Callable[[], T],
    *,
    timeout_s: float = PATIENCE_S,
    check: Callable[[], None] = lambda: None,
) -> T:
    """What `act`, one whole transaction, returns; it is tried again while the catalog is away.

    It may be done twice, when the answer to a commit was lost. `check` is called before each new
    try and may raise to stop. Raises what the last try raised once `timeout_s` are over.
    """
    ends = time.monotonic() + timeout_s
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            return act()
        except SQLAlchemyError as error:
            if not away(error) or time.monotonic() + wait_s > ends:
                raise
            log.warning("the catalog does not answer; trying again: %s", _first_line(error))
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        check()


def _first_line(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", error) or error).strip().partition("\n")[0]
