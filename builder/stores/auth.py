"""The Authorization header of a registry's requests: basic, or bearer tokens asked for and kept.

Source: the Distribution project's token authentication specification and its OAuth2 variant.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

from builder.errors import StoreRefusedError
from builder.stores.challenge import (
    Challenge,
    Scopes,
    parse_challenges,
    parse_scopes,
    render_scopes,
)
from builder.stores.credentials import Login
from builder.stores.names import is_loopback
from builder.stores.parse import parse_object

CLIENT_ID = "kitbag"
DEFAULT_LIFETIME_S = 60
"""What the specification says a token without `expires_in` lives."""
MAX_TOKENS = 1024

_SENDABLE = re.compile(r"[\x21-\x7e]{1,16384}")

Fetch = Callable[[str, str, Mapping[str, str], bytes | None], tuple[int, bytes]]
"""(method, url, headers, body) -> (status, body): one request without our own authorization."""


class Authenticator:
    """What is known of one registry's way to authenticate; safe to share between threads.

    `find_login` is asked when the registry first asks, and again after it refused.
    """

    def __init__(
        self, host: str, find_login: Callable[[], Login | None], *, plain_http: bool
    ) -> None:
        self._host = host
        self._find_login = find_login
        self._plain_http = plain_http
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._login: Login | None = None
        self._tokens: dict[Scopes, tuple[str, float]] = {}
        self._wider: dict[Scopes, Scopes] = {}

    @property
    def logged_in(self) -> bool:
        """Whether credentials were used, as opposed to asking as anyone."""
        return self._login is not None

    def header(self, scopes: Scopes, fetch: Fetch) -> str | None:
        """The Authorization value for these scopes, None while the registry asked for nothing.

        One thread at a time asks for tokens: the others then find theirs in the cache.
        """
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            return f"Basic {self._login.basic}" if self._login else None
        if self._login and self._login.registry_token:
            return f"Bearer {_sendable(self._login.registry_token, self._host)}"
        with self._lock:
            token = self._cached(scopes)
            if token is None:
                token = self._fetch_token(challenge, scopes, fetch)
        return f"Bearer {token}"

    def challenged(self, headers: list[str], scopes: Scopes, sent: str | None) -> bool:
        """Learn from a 401 to a request that had this Authorization; whether to try it again."""
        offers = {c.scheme: c for c in reversed(parse_challenges(headers))}
        challenge = offers.get("bearer") or offers.get("basic")
        if challenge is None or (challenge.scheme == "bearer" and "realm" not in challenge.params):
            return False
        with self._lock:
            self._login = self._find_login()
            self._challenge = challenge
            if sent is not None:
                token = sent.removeprefix("Bearer ")
                self._tokens = {k: v for k, v in self._tokens.items() if v[0] != token}
            self._widen(scopes, parse_scopes(challenge.params.get("scope", "")))
            if challenge.scheme == "basic":
                return self._login is not None and sent != f"Basic {self._login.basic}"
            if self._login and self._login.registry_token:
                return sent != f"Bearer {self._login.registry_token}"
            return True

    def scrub(self, text: str) -> str:
        """The text without any secret of ours that somebody may have echoed."""
        secrets = list(self._login.secrets) if self._login else []
        with self._lock:
            secrets += [token for token, _ in self._tokens.values()]
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _cached(self, scopes: Scopes) -> str | None:
        now = time.monotonic()
        self._tokens = {k: v for k, v in self._tokens.items() if v[1] > now}
        wanted = self._wider.get(scopes, scopes)
        return next((v[0] for k, v in self._tokens.items() if k >= wanted), None)

    def _widen(self, scopes: Scopes, asked: Scopes) -> None:
        """Add what the registry asks for where that is about other names than ours.

        A registry behind a path-rewriting proxy knows its repositories under other names.
        """
        ours = {scope.rpartition(":")[0] for scope in scopes}
        others = frozenset(s for s in asked if s.rpartition(":")[0] not in ours)
        if others and len(self._wider) < MAX_TOKENS:
            self._wider[scopes] = scopes | others

    def _fetch_token(self, challenge: Challenge, scopes: Scopes, fetch: Fetch) -> str:
        realm = challenge.params["realm"]
        self._check_realm(realm)
        service = challenge.params.get("service", "")
        wanted = self._wider.get(scopes, scopes)
        login = self._login
        if login and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(render_scopes(wanted)),
                "refresh_token": login.identity_token,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            status, data = fetch("POST", realm, kind, urlencode(form).encode())
        else:
            query = [("service", service)] if service else []
            query += [("scope", scope) for scope in render_scopes(wanted)]
            headers = {"Authorization": f"Basic {login.basic}"} if login else {}
            if login:
                query.append(("account", login.username))
            joiner = "&" if urlsplit(realm).query else "?"
            status, data = fetch("GET", f"{realm}{joiner}{urlencode(query)}", headers, None)
        if status != 200:
            raise self._no_token(realm, status)
        token, lifetime_s = self._read_token(realm, data)
        if len(self._tokens) >= MAX_TOKENS:
            self._tokens.clear()
        # A fifth is kept back, so that a token doesn't run out between its check and its use.
        self._tokens[wanted] = (token, time.monotonic() + lifetime_s * 0.8)
        return token

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        safe = parts.scheme == "https" or (
            parts.scheme == "http" and (self._plain_http or is_loopback(parts.netloc))
        )
        if not safe or not parts.hostname or "@" in parts.netloc:
            raise StoreRefusedError(
                f"{self._host} sends its clients to a token server without https: ask its "
                "operator to correct the realm"
            )

    def _no_token(self, realm: str, status: int) -> StoreRefusedError:
        server = urlsplit(realm).netloc
        if status in (400, 401, 403):
            if self._login:
                return StoreRefusedError(
                    f"{server} does not accept the credentials for {self._host} (HTTP {status}): "
                    f"run `docker login {self._host}` again, or correct the Docker config"
                )
            return StoreRefusedError(
                f"{self._host} lets nobody in without credentials (HTTP {status}): run "
                f"`docker login {self._host}`, or add it to the Docker config"
            )
        return StoreRefusedError(
            f"The token server {server} of {self._host} answered HTTP {status}: ask its operator"
        )

    def _read_token(self, realm: str, data: bytes) -> tuple[str, float]:
        try:
            answer = parse_object(data)
            token = str(answer.get("token") or answer["access_token"])
            lifetime_s = float(answer.get("expires_in") or DEFAULT_LIFETIME_S)
        except (ValueError, KeyError, TypeError):
            raise StoreRefusedError(
                f"The token server {urlsplit(realm).netloc} of {self._host} gave no token: ask "
                "its operator"
            ) from None
        return _sendable(token, self._host), min(max(lifetime_s, 5.0), 86400.0)


def _sendable(token: str, host: str) -> str:
    if not _SENDABLE.fullmatch(token):
        raise StoreRefusedError(
            f"The token for {host} has characters that no token has: log in again"
        )
    return token
