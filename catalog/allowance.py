"""Who a build counts for, and how much it and its kin may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a build may use, decided when it was asked for; None is no limit.

    `tenant` is whom it counts for: of those who wait, each one's builds move up by their `weight`,
    and at most `concurrent` of them are worked on at the same time.
    """

    tenant: str
    weight: float = 1.0
    concurrent: int | None = None
    build_seconds: float | None = None
    image_bytes: int | None = None


def of_user(user: str) -> str:
    """The tenant that a person is."""
    return f"user:{user}"


def of_namespace(namespace: str) -> str:
    """The tenant of builds that nobody known asked for, such as those of a push."""
    return f"namespace:{namespace}"
