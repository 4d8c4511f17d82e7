"""The identity provider over HTTP: its discovery document and its signing keys.

OpenID Connect Discovery 1.0, RFC 7517. Nothing that a token says decides what is fetched.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from anyio import Lock
from pydantic import BaseModel, Field, ValidationError, field_validator

from api.auth.errors import AwayError
from api.auth.keys import PublicKey, readable
from api.auth.settings import IdentitySettings

log = logging.getLogger(__name__)
_MAX_BYTES = 1024 * 1024
_FRESH_S = 600.0
_LEAST_S, _MOST_S = 60.0, 3600.0
STALE_S = 24 * 3600.0
"""For so long the keys that are known do where the provider does not answer."""
PAUSE_S = 10.0
"""The provider is asked no more often, whatever is asked of this server."""
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])")


class Discovered(BaseModel):
    """What is used of the discovery document."""

    issuer: str = Field(max_length=2000)
    jwks_uri: str = Field(max_length=2000)
    authorization_endpoint: str = Field("", max_length=2000)
    token_endpoint: str = Field("", max_length=2000)
    device_authorization_endpoint: str = Field("", max_length=2000)

    @field_validator(
        "jwks_uri", "authorization_endpoint", "token_endpoint", "device_authorization_endpoint"
    )
    @classmethod
    def _safe(cls, url: str) -> str:
        parts = urlsplit(url)
        loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if url and parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError("it is no https address")
        return url


@dataclass(slots=True)
class _Known:
    document: Discovered
    keys: tuple[PublicKey, ...]
    fetched_at: float
    fresh_s: float


@dataclass(slots=True)
class Provider:
    """One provider, asked seldom; used from one event loop. Raises AwayError where it is away."""

    settings: IdentitySettings
    fetches: int = 0
    _known: _Known | None = None
    _tried_at: float = float("-inf")
    _problem: str = ""
    _lock: Lock = field(default_factory=Lock)
    _client: httpx.AsyncClient | None = None

    async def document(self) -> Discovered:
        """The discovery document, an hour old at most where the provider answers."""
        return (await self._fresh()).document

    async def keys(self, kid: str | None) -> tuple[PublicKey, ...]:
        """The keys that may have signed a token which names this one.

        A name that nobody knows yet has the keys fetched again, since providers rotate them.
        """
        known = await self._fresh()
        found = _named(known.keys, kid)
        if not found and self._may_ask():
            known = await self._fetched(older_than=known.fetched_at)
            found = _named(known.keys, kid)
        return found

    async def post(
        self, url: str, form: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> tuple[int, Mapping[str, Any]]:
        """The status and the JSON with which the provider answers a form, `auth` being the client's
        name and secret."""
        headers = {"Accept": "application/json"}
        try:
            async with asyncio.timeout(2 * self.settings.oidc_timeout_s):
                sent = self._http().stream("POST", url, data=dict(form), headers=headers, auth=auth)
                async with sent as response:
                    return response.status_code, _object(await _read(response))
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            log.warning("the identity provider did not answer %s: %r", url, error)
            raise AwayError(
                "The identity provider does not answer; try again in a minute."
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _fresh(self) -> _Known:
        known = self._known
        if known is not None and time.monotonic() - known.fetched_at < known.fresh_s:
            return known
        return await self._fetched(older_than=known.fetched_at if known else float("-inf"))

    async def _fetched(self, *, older_than: float) -> _Known:
        """What is known once it was fetched after `older_than`; all who wait share one fetch."""
        async with self._lock:
            known = self._known
            if known is not None and known.fetched_at > older_than:
                return known
            if self._may_ask():
                self._tried_at = time.monotonic()
                try:
                    self._known = await self._fetch()
                except (httpx.HTTPError, TimeoutError, ValidationError, ValueError) as error:
                    self._problem = f"{type(error).__name__}: {error}"
                    log.warning("the identity provider can't be used: %s", self._problem)
                else:
                    self._problem = ""
                    return self._known
            if known is not None and time.monotonic() - known.fetched_at < STALE_S:
                return known
            raise AwayError(
                "The identity provider does not answer, so nobody can be told from anybody; try "
                "again in a minute."
            )

    def _may_ask(self) -> bool:
        return time.monotonic() - self._tried_at >= PAUSE_S

    async def _fetch(self) -> _Known:
        issuer = self.settings.oidc_issuer or ""
        self.fetches += 1
        async with asyncio.timeout(2 * self.settings.oidc_timeout_s):
            place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            data, _ = await self._get(place)
            document = Discovered.model_validate(data)
            if document.issuer != issuer:
                raise ValueError(
                    f"{place} is about the issuer {document.issuer!r}; set KITBAG_OIDC_ISSUER to "
                    "that, if it is meant"
                )
            jwks, fresh_s = await self._get(document.jwks_uri)
        return _Known(document, readable(jwks), time.monotonic(), fresh_s)

    async def _get(self, url: str) -> tuple[Mapping[str, Any], float]:
        """The JSON object there, and for how long it may be kept."""
        async with self._http().stream("GET", url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"{url} answered {response.status_code}")
            found = _MAX_AGE.search(response.headers.get("cache-control", ""))
            kept_s = float(found[1]) if found else _FRESH_S
            return _object(await _read(response)), min(max(kept_s, _LEAST_S), _MOST_S)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            host = urlsplit(self.settings.oidc_issuer or "").hostname
            ca = self.settings.oidc_ca
            self._client = httpx.AsyncClient(
                timeout=self.settings.oidc_timeout_s,
                verify=ssl.create_default_context(cafile=ca),
                follow_redirects=False,
                trust_env=host not in ("localhost", "127.0.0.1", "::1"),
                limits=httpx.Limits(max_connections=10),
            )
        return self._client


def _named(keys: tuple[PublicKey, ...], kid: str | None) -> tuple[PublicKey, ...]:
    return tuple(key for key in keys if kid is None or key.kid == kid)


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _MAX_BYTES:
            raise ValueError(f"{response.url} is over {_MAX_BYTES:,} bytes")
    return bytes(body)


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - of what others sent
    return found
