"""Whom a build counts for, whether they may have one more, and what they use."""

from __future__ import annotations

import math
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.auth.principal import Principal
from api.problems import ProblemError, Slug
from api.quotas.schemas import QuotaOut
from api.text import human
from catalog import usage
from catalog.allowance import Allowance, of_namespace, of_user
from catalog.engine import reading
from catalog.types import utcnow
from worker.quotas import NONE, Quota, Quotas

_OURS = "kitbag:"
_MORE = "or ask the operator for a larger quota"


class Allotments:
    """The operator's quotas; `refused` is told of each limit that a request ran into."""

    def __init__(self, quotas: Quotas | None, refused: Callable[[str], None]) -> None:
        self._quotas = quotas
        self._refused = refused

    def of(self, who: Principal) -> Quota:
        """What somebody may use.

        Without a file people have the defaults, and a server of one user or token has no limits.
        """
        if self._quotas is not None:
            return self._quotas.of(sorted(who.groups))
        return Quota() if _is_person(who) else NONE

    def allowance(self, who: Principal, namespace: str) -> Allowance:
        """What a build of this namespace, asked for by them, takes along."""
        return self.of(who).allowance(tenant(who, namespace))

    def admit(self, who: Principal, namespace: str) -> Callable[[Session], None]:
        """What raises ProblemError, in the transaction of a new build, if they may not have it."""
        quota, counted_for = self.of(who), tenant(who, namespace)

        def check(session: Session) -> None:
            if quota.builds_a_day is not None:
                self._check_day(session, counted_for, quota.builds_a_day)
            if quota.stored_bytes is not None:
                self._check_stored(session, counted_for, quota.stored_bytes)

        return check

    def _check_day(self, session: Session, tenant: str, limit: int) -> None:
        count = usage.builds_today(session, tenant)
        if count < limit:
            return
        self._refused("builds_a_day")
        at = usage.room_at(session, tenant, limit)
        wait_s = 1 if at is None else max(1, math.ceil((at - utcnow()).total_seconds()))
        raise ProblemError(
            Slug.QUOTA_EXCEEDED,
            f"{count} builds were asked for within 24 hours, and {limit} are allowed; ask again in "
            f"{_duration(wait_s)}, {_MORE}.",
            headers={"Retry-After": str(wait_s)},
        )

    def _check_stored(self, session: Session, tenant: str, limit: int) -> None:
        stored = usage.stored_bytes(session, tenant)
        if stored < limit:
            return
        self._refused("stored_bytes")
        raise ProblemError(
            Slug.QUOTA_EXCEEDED,
            f"Your versions hold {human(stored)} of the {human(limit)} that they may; let go of "
            f"versions that nobody needs, {_MORE}.",
            status=403,
        )


def tenant(who: Principal, namespace: str) -> str:
    """Whom a build counts for."""
    return of_user(who.user) if _is_person(who) else of_namespace(namespace)


def show(engine: Engine, book: Allotments, who: Principal, namespace: str) -> QuotaOut:
    """What they may use, and use."""
    counted_for, quota = tenant(who, namespace), book.of(who)
    with reading(engine) as session:
        used = usage.of(session, counted_for)
    return QuotaOut.of(counted_for, quota, used)


def _is_person(who: Principal) -> bool:
    return not who.user.startswith(_OURS)


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{math.ceil(minutes / 60)} hours"
