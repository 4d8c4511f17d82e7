"""Token buckets in Redis, from which each replica takes what it is about to use.

A bucket of `burst` tokens fills at `rate` tokens a second; a request takes one. A replica takes a
few at once, as many as its caller used within the second before, so that most requests ask nobody.
What it doesn't use within a second is lost to the caller, and never given out twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import redis.asyncio
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

_PREFIX = "kitbag:rate:"
_LEASE_S = 1.0
_MOST_AT_ONCE = 50
_TIMEOUT_S = 0.25
_AWAY_S = 1.0
_KEPT = 10_000

# Redis runs it alone, by its own clock: replicas whose clocks differ agree.
_TAKE = """
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local known = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(known[1]) or burst
local at = tonumber(known[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local given = math.min(want, math.floor(tokens))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
local wait = 0
if given == 0 then wait = (1 - tokens) / rate end
return {given, tostring(wait)}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second in the long run, and at once."""

    per_s: float
    burst: int


@dataclass(slots=True)
class _Lease:
    left: int = 0
    used: int = 0
    until: float = 0.0
    refused_until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Buckets:
    """The buckets of one replica's callers; for one event loop.

    A Redis that is away limits nobody: `unchecked` is told of each request that it let pass.
    """

    def __init__(self, url: str, unchecked: Callable[[], None]) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=None,
            decode_responses=True,
        )
        self._unchecked = unchecked
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._away_until = 0.0

    async def take(self, key: str, rate: Rate) -> float:
        """Take a token: 0, or the seconds after which there is one."""
        lease = self._lease(key)
        async with lease.lock:
            now = time.monotonic()
            if now < lease.refused_until:
                return lease.refused_until - now
            if lease.left and now < lease.until:
                lease.left -= 1
                lease.used += 1
                return 0.0
            if now < self._away_until:
                self._unchecked()
                return 0.0
            return await self._refill(key, rate, lease, now)

    async def _refill(self, key: str, rate: Rate, lease: _Lease, now: float) -> float:
        # Never so much that a caller who stops would have lost a good part of their rate.
        most = max(1, min(_MOST_AT_ONCE, int(rate.per_s / 4)))
        want = max(1, min(lease.used if now < lease.until + _LEASE_S else 1, most))
        try:
            given, wait = await self._redis.eval(
                _TAKE, 1, f"{_PREFIX}{key}", str(rate.per_s), str(rate.burst), str(want)
            )
        except (TimeoutError, RedisError, OSError) as error:
            log.warning("nobody is limited: the queue does not answer: %s", type(error).__name__)
            self._away_until = time.monotonic() + _AWAY_S
            self._unchecked()
            return 0.0
        lease.left, lease.used, lease.until = int(given) - 1, 1, now + _LEASE_S
        if int(given):
            return 0.0
        lease.left, lease.refused_until = 0, now + float(wait)
        return float(wait)

    def _lease(self, key: str) -> _Lease:
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease()
            if len(self._leases) > _KEPT:
                self._leases.popitem(last=False)
        self._leases.move_to_end(key)
        return lease

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
