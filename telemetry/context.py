"""What is being worked on, as every line of the log and every message of the queue names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import MappingProxyType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_facts: ContextVar[Mapping[str, str]] = ContextVar("kitbag_about", default=_NOTHING)


def current() -> Mapping[str, str]:
    """What is being worked on: of `request`, `build` and `job` those that are known."""
    return _facts.get()


@contextmanager
def about(**facts: str | None) -> Iterator[None]:
    """Work on something inside the block; what is None stays what it was."""
    known = {name: value for name, value in facts.items() if value is not None}
    token = _facts.set({**_facts.get(), **known})
    try:
        yield
    finally:
        _facts.reset(token)


def carried(work: Callable[P, T]) -> Callable[P, T]:
    """The same work for a thread of its own, about what this one is about now."""
    held = copy_context()

    def do(*args: P.args, **kwargs: P.kwargs) -> T:
        return held.run(work, *args, **kwargs)

    return do
