"""Tokens of this server as callers show them, remembered for a few seconds each."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import Engine

from catalog import tokens
from catalog.engine import reading, writing
from catalog.models import Token

FRESH_S = 5.0
"""For so long a token that was revoked at another replica may still be good here."""
_MAX_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class KnownToken:
    """What a good token says."""

    id: int
    name: str
    user: str
    groups: frozenset[str]
    namespace: str | None
    role: str
    namespaces: tuple[str, ...]
    expires_at: float

    @classmethod
    def of(cls, token: Token) -> KnownToken:
        """The row's facts."""
        return cls(
            id=token.id,
            name=token.name,
            user=token.user,
            groups=frozenset(token.groups),
            namespace=token.namespace,
            role=token.role,
            namespaces=tuple(token.namespaces),
            expires_at=token.expires_at.timestamp() if token.expires_at else float("inf"),
        )


class TokenBook:
    """The good tokens that were shown lately; used from one event loop."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, tuple[float, KnownToken | None]] = OrderedDict()

    async def find(self, sha256: str) -> KnownToken | None:
        """The token of that hash; None if it is none, ended, or was revoked."""
        until, known = self._kept.get(sha256, (float("-inf"), None))
        if until <= time.monotonic():
            known = await to_thread.run_sync(self._read, sha256)
            self._kept[sha256] = (time.monotonic() + FRESH_S, known)
            self._kept.move_to_end(sha256)
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return known if known is not None and known.expires_at > time.time() else None

    def forget(self) -> None:
        """Ask the catalog again: one was revoked here."""
        self._kept.clear()

    def _read(self, sha256: str) -> KnownToken | None:
        with reading(self._engine) as session:
            token = tokens.find(session, sha256)
            known = KnownToken.of(token) if token is not None else None
            note = token is not None and tokens.is_use_worth_noting(token)
        if known is not None and note:
            with writing(self._engine) as session:
                tokens.note_use(session, known.id)
        return known
