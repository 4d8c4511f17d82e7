"""What a request is about, told by whoever reads its body to the line that is written of it."""

from __future__ import annotations

from contextvars import ContextVar

# A dict and not a value: a thread that answers has a copy of the context, with the same dict in it.
_noted: ContextVar[dict[str, str] | None] = ContextVar("kitbag_subject", default=None)


def begin() -> dict[str, str]:
    """A place for what this request is about: under `subject` once somebody said, and `nothing` is
    there if it changed nothing.
    """
    noted: dict[str, str] = {}
    _noted.set(noted)
    return noted


def changed_nothing() -> None:
    """Say that the request found what it asked for: there is nothing to tell of."""
    noted = _noted.get()
    if noted is not None:
        noted["nothing"] = "changed"


def note(subject: str) -> None:
    """Say what the request is about: an environment, or a pattern of them."""
    noted = _noted.get()
    if noted is not None:
        noted["subject"] = subject
