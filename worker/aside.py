"""Work that can't be stopped at once is waited for in a way that can."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import TypeVar

from telemetry.context import carried

T = TypeVar("T")

_TICK_S = 0.1


def aside(work: Callable[[], T], check: Callable[[], None], *, grace_s: float = 0) -> T:
    """What `work`, done in a thread of its own, returns or raises.

    `check` is called meanwhile and may raise to stop waiting; the work then has `grace_s` to end by
    itself, and after that it goes on with nobody listening.
    """
    done: Future[T] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 # told to whoever waits
            done.set_exception(error)

    threading.Thread(target=carried(do), name="aside", daemon=True).start()
    while not wait_for([done], timeout=_TICK_S).done:
        try:
            check()
        except BaseException:
            wait_for([done], timeout=grace_s)
            raise
    return done.result()
