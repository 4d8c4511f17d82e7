"""The queue's Redis transport, made to outlive a Redis that dies.

A message that is acknowledged, or put back, after its connection was given up asks kombu 5.7 for a
new client by the settings of that connection. They are gone by then, and the AttributeError that
follows ended the worker with all of its builds. As what it is, a lost connection, Celery expects
it: it connects again, and the sweep tells the queue anew of what was lost.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as transport
from redis.exceptions import ConnectionError as LostError


class Channel(transport.Channel):
    """kombu's own, which says so when its connection was given up."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise LostError("the connection to the queue was given up")
        params: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        return params


def install() -> None:
    """Let every connection of this process use it."""
    transport.Transport.Channel = Channel
