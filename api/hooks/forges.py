"""The forges: how each signs a delivery, names it, and writes what happened."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from api.hooks import payloads
from api.hooks.event import UnreadableError
from catalog.hook_models import Forge

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is particular to a forge; header names are in lower case.

    `signature` holds an HMAC-SHA256 of the raw body in hex, behind `prefix`; GitLab sends the
    secret itself in `token`. `delivery` are the headers that name a delivery, the first that is
    there counts.
    """

    event: str
    delivery: tuple[str, ...]
    read: Callable[[str, Any], payloads.Events]
    signature: str | None = None
    prefix: str = ""
    token: str | None = None


DIALECTS: Mapping[Forge, Dialect] = {
    # docs.github.com/webhooks: X-Hub-Signature-256, X-GitHub-Delivery.
    Forge.GITHUB: Dialect(
        "x-github-event",
        ("x-github-delivery",),
        payloads.github,
        signature="x-hub-signature-256",
        prefix="sha256=",
    ),
    # docs.gitlab.com/user/project/integrations/webhooks: the same key in every retry.
    Forge.GITLAB: Dialect(
        "x-gitlab-event",
        ("idempotency-key", "x-gitlab-event-uuid"),
        payloads.gitlab,
        token="x-gitlab-token",  # noqa: S106 # a header's name
    ),
    # docs.gitea.com/usage/webhooks; Forgejo sends the same headers.
    Forge.GITEA: Dialect(
        "x-gitea-event", ("x-gitea-delivery",), payloads.gitea, signature="x-gitea-signature"
    ),
    # support.atlassian.com: X-Hub-Signature, and one UUID for all tries of a delivery.
    Forge.BITBUCKET: Dialect(
        "x-event-key",
        ("x-request-uuid", "x-request-id"),
        payloads.bitbucket,
        signature="x-hub-signature",
        prefix="sha256=",
    ),
}


def may_be_signed(forge: Forge, headers: Headers, secret: str) -> bool:
    """What the headers alone say: GitLab's secret is in one, of the others a signature must be."""
    dialect = DIALECTS[forge]
    if dialect.token is not None:
        return _same(headers.get(dialect.token, ""), secret)
    shown = headers.get(str(dialect.signature), "")
    return len(shown) == len(dialect.prefix) + hashlib.sha256().digest_size * 2


def is_signed(forge: Forge, headers: Headers, body: bytes, secret: str) -> bool:
    """Whether who sent the body knows the secret; compared in constant time."""
    dialect = DIALECTS[forge]
    if dialect.token is not None:
        return _same(headers.get(dialect.token, ""), secret)
    assert dialect.signature is not None
    shown = headers.get(dialect.signature, "")
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return _same(shown, f"{dialect.prefix}{expected}")


def delivery_of(forge: Forge, headers: Headers, body: bytes) -> str:
    """What names the delivery: the same for all tries of it, and for a replay.

    A signature does not cover the headers, so the name has the body's hash in it: who replays a
    body under another name gets a new delivery of a push that is known, which builds nothing.
    """
    named = next(
        (headers[name] for name in DIALECTS[forge].delivery if headers.get(name)), "unnamed"
    )
    return f"{named[:60]}:{hashlib.sha256(body).hexdigest()[:32]}"


def event_name(forge: Forge, headers: Headers) -> str:
    """What the forge calls the event."""
    return headers.get(DIALECTS[forge].event, "")[:64]


def read(forge: Forge, name: str, payload: Any) -> payloads.Events:  # noqa: ANN401 # JSON
    """What happened; raises UnreadableError."""
    try:
        return DIALECTS[forge].read(name, payload)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][:8])[:120]
        raise UnreadableError(f"{where or 'the payload'}: {first['msg'].lower()}") from error


def _same(shown: str, expected: str) -> bool:
    return hmac.compare_digest(shown.encode(errors="replace"), expected.encode())
