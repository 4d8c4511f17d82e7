"""Which workers there are: each says so on the broker, and what nobody says is over soon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import redis
from pydantic import BaseModel, ConfigDict, ValidationError

_PREFIX = "kitbag:worker:"


class Presence(BaseModel):
    """A worker as it told of itself; `name` is HOST:PID, `engine` "none" where it has none.

    `engine_problem` is what is wrong with its engine, empty while that answers.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    release: str
    queues: tuple[str, ...]
    concurrency: int
    engine: str
    engine_problem: str = ""
    started_at: datetime
    seen_at: datetime


def tell(broker: redis.Redis, presence: Presence, for_s: float) -> None:
    """Say that the worker lives; raises RedisError."""
    broker.set(f"{_PREFIX}{presence.name}", presence.model_dump_json(), ex=max(1, int(for_s)))


def leave(broker: redis.Redis, name: str) -> None:
    """Say that the worker ends; raises RedisError."""
    broker.delete(f"{_PREFIX}{name}")


def everyone(broker: redis.Redis) -> Sequence[Presence]:
    """The workers that said so lately, by name; raises RedisError."""
    keys = list(broker.scan_iter(f"{_PREFIX}*", count=500))
    found = []
    for text in broker.mget(keys) if keys else ():
        try:
            found.append(Presence.model_validate_json(text or b""))
        except ValidationError:
            continue  # it left in this moment, or is of another release
    return sorted(found, key=lambda each: each.name)
