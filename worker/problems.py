"""Errors as problems (RFC 9457); the API completes the `type`."""

from __future__ import annotations

from typing import Any

from builder.errors import BadWheelError, BuildError, UnresolvableError

_ADVICE = {
    BadWheelError.type: "ask for another version of it, and tell those who publish it",
    UnresolvableError.type: "correct the name or loosen a version, then build again",
}
"""What to do where an error's own sentence says only what is wrong."""


def problem_of(error: BuildError) -> dict[str, Any]:
    """The error as a problem (RFC 9457), its `type` the slug alone, its `detail` a sentence."""
    detail = error.detail.rstrip()
    if ";" not in detail and error.type in _ADVICE:
        detail = f"{detail.rstrip('.')}; {_ADVICE[error.type]}."
    if not detail.endswith((".", "!", "?")):
        detail += "."
    return {"type": error.type, "detail": detail, **error.extra}


def unreadable() -> dict[str, Any]:
    """The problem for a request that the API of another release let through."""
    return {
        "type": "invalid-request",
        "detail": "The worker can't read this request; its operator must bring the API and the "
        "workers to the same release.",
    }


def surprise(what: str) -> dict[str, Any]:
    """The problem for what nobody foresaw; the log has the cause."""
    return {
        "type": "internal",
        "detail": f"Something went wrong in the worker; its operator finds the cause of {what} "
        "in the log.",
    }
