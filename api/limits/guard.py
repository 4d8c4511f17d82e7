"""The check before any route: who asks, whether they may, and whether not too often."""

from __future__ import annotations

import hashlib
import math

from fastapi import Request

from api.auth.guard import authorise
from api.auth.principal import Kind, Principal
from api.limits.bucket import Buckets, Rate
from api.metrics.registry import Metrics
from api.problems import ProblemError, Slug
from api.settings import ApiSettings

_FREE = ("/healthz", "/readyz", "/metrics")
_ADMISSION = ("/admission", "/v1/admission")
_NOBODY = frozenset({Kind.NOBODY, Kind.SERVER})


class Limits:
    """Who may ask how often; `take` refuses what is more."""

    def __init__(self, settings: ApiSettings, broker_url: str, metrics: Metrics) -> None:
        self._known = Rate(settings.rate_limit, settings.rate_burst)
        self._unknown = Rate(settings.rate_limit_unknown, settings.rate_burst_unknown)
        self._metrics = metrics
        self._buckets = Buckets(broker_url, metrics.unchecked.inc)

    async def of_somebody(self, who: Principal) -> None:
        """Count a request of somebody who is known; raises ProblemError if it is too many."""
        # A name may be anything, and a key of Redis should not.
        name = hashlib.sha256(who.user.encode()).hexdigest()[:32]
        await self._take("user", name, self._known)

    async def of_address(self, request: Request) -> None:
        """Count a request of nobody who is known, by the address that it came from."""
        client = request.client
        await self._take("address", client.host if client else "-", self._unknown)

    async def _take(self, by: str, name: str, rate: Rate) -> None:
        if not rate.per_s:
            return
        wait_s = await self._buckets.take(f"{by}:{name}", rate)
        if not wait_s:
            return
        self._metrics.limited.labels(by).inc()
        after = max(1, math.ceil(wait_s))
        whose = "You send" if by == "user" else "Your address sends"
        raise ProblemError(
            Slug.RATE_LIMITED,
            f"{whose} more than {rate.per_s:g} requests a second, and more than {rate.burst} at "
            f"once; go on in {after} s.",
            headers={"Retry-After": str(after)},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._buckets.close()


async def admitted(request: Request) -> Principal:
    """Who asks, if they may do what the route does, and didn't ask too often.

    An API server's reviews are not counted: one that is refused would hold up its cluster.
    """
    limits: Limits | None = request.app.state.limits
    path = request.url.path
    if limits is None or path in _FREE or path.startswith(_ADMISSION):
        return await authorise(request)
    try:
        who = await authorise(request)
    except ProblemError as problem:
        if problem.slug is Slug.UNAUTHORIZED:
            await limits.of_address(request)
        raise
    if who.kind in _NOBODY:
        await limits.of_address(request)
    else:
        await limits.of_somebody(who)
    return who
