"""Threads of a build that hand work on without waiting for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def left_at_failure(executor: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """Waits for the executor's work at the end, but not when the block fails.

    Then nobody waits for what an index, a registry or a disk holds up: those threads end by
    themselves at their next check.
    """
    failed = True
    try:
        yield executor
        failed = False
    finally:
        executor.shutdown(wait=not failed, cancel_futures=failed)


def after(needed: Sequence[Future[Any]], begin: Callable[[], Future[T]]) -> Future[T]:
    """What `begin` gives, called once all that is needed is there, so that no thread waits for it.

    The first of the needed that fails fails it.
    """
    result: Future[T] = Future()
    left = len(needed)
    lock = threading.Lock()

    def hand_on(done: Future[Any], then: Callable[[], None]) -> None:
        try:
            error = done.exception()
        except CancelledError:
            result.cancel()
            return
        if error is None:
            then()
        else:
            with suppress(InvalidStateError):  # another failed before
                result.set_exception(error)

    def count() -> None:
        nonlocal left
        with lock:
            left -= 1
            if left:
                return
        try:
            made = begin()
        except RuntimeError:  # the build has ended meanwhile, and takes no more work
            result.cancel()
            return
        made.add_done_callback(lambda done: hand_on(done, lambda: finish(done)))

    def finish(done: Future[T]) -> None:
        with suppress(InvalidStateError):  # cancelled meanwhile
            result.set_result(done.result())

    for future in needed:
        future.add_done_callback(lambda done: hand_on(done, count))
    return result
