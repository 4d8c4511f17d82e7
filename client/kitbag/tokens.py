"""Tokens, who the caller is, and being let in through a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from kitbag.transport import Transport

Json = dict[str, Any]
_PATH = "/v1/tokens"


class Tokens:
    """The caller's tokens and those of the namespaces whose admin they are."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str,
        *,
        role: str = "user",
        only: Sequence[str] = (),
        namespace: str | None = None,
        days: int | None = 90,
    ) -> Json:
        """A new token with its `secret`, which is shown this once.

        It is the caller's, good for `role` at most in the namespaces `only`, all if empty; or that
        of a `namespace`, for its admins. `days` is how long; None for as long as the server allows.
        """
        body: Json = {"name": name, "role": role, "namespace": namespace, "days": days}
        made: Json = self._transport.post(
            _PATH, body | ({"namespaces": list(only)} if only else {})
        )
        return made

    def list(self) -> list[Json]:
        """The tokens, the newest first, without their secrets."""
        items: list[Json] = self._transport.get(_PATH)["items"]
        return items

    def remove(self, token_id: int) -> Json:
        """Revoke a token; returns what it was."""
        gone: Json = self._transport.delete(f"{_PATH}/{int(token_id)}")
        return gone


def let_in(transport: Transport, device: str, show: Callable[[str, str], None]) -> str:
    """The token that a person gives this command in a browser; raises KitbagError.

    `show` gets the address of the page and the code to compare.
    """
    begun = transport.post("/v1/logins", {"device": device})
    show(f"{transport.url}{begun['path']}", str(begun["code"]))
    while True:
        time.sleep(float(begun["interval_s"]))
        answer = transport.post(f"/v1/logins/{begun['id']}", {"secret": begun["secret"]})
        if answer["token"]:
            return str(answer["token"])
