"""HTTP to one registry: pooled connections, authorization, retries, and errors as sentences.

Built on httpx's transports rather than its client: a client logs every URL, signed ones included,
keeps cookies (which make some registries demand CSRF tokens), and sends headers after redirects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from builder.errors import InvalidSpecError, StoreRefusedError
from builder.source import HostPolicy
from builder.stores.auth import Authenticator
from builder.stores.challenge import Scopes
from builder.stores.connections import Connections
from builder.stores.credentials import Login
from builder.stores.deadline import Patience, Retriable
from builder.stores.exchange import (
    Body,
    BodyStream,
    Reply,
    finish,
    join,
    read_limited,
    reading,
    retry_after_s,
)
from builder.stores.names import api_host
from builder.stores.problems import problem

MAX_REDIRECTS = 5

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "kitbag"


class Transport:
    """One registry's HTTP API; safe to share between threads, but not across a fork.

    `timeout_s` is the longest silence, `deadline_s` the longest operation, all attempts included.
    `more_headers` gives what else a request to the registry itself carries, such as a trace.
    `policy` is for registries that users name: what may be connected to, wherever they lead.
    """

    def __init__(
        self,
        host: str,
        find_login: Callable[[], Login | None],
        *,
        plain_http: bool,
        ca_bundle: Path | None,
        connections: int,
        timeout_s: float,
        deadline_s: float,
        retries: int,
        more_headers: Callable[[], Mapping[str, str]] = dict,
        policy: HostPolicy | None = None,
    ) -> None:
        self.host = host
        self._more_headers = more_headers
        try:
            self.base = httpx.URL(f"{'http' if plain_http else 'https'}://{api_host(host)}")
        except httpx.InvalidURL as error:
            raise InvalidSpecError(
                f"{host[:80]!r} is not a registry host: write HOST or HOST:PORT"
            ) from error
        self._auth = Authenticator(host, find_login, plain_http=plain_http)
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._retries = retries
        self._pools = Connections(ca_bundle, connections, policy)

    def close(self) -> None:
        """Close all connections."""
        self._pools.close()

    def patience(self) -> Patience:
        """The time and attempts of one operation that begins now."""
        return Patience(self.host, deadline_s=self._deadline_s, retries=self._retries)

    def call(
        self,
        method: str,
        url: str,
        *,
        scopes: Scopes,
        ok: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        patience: Patience | None = None,
    ) -> Reply:
        """The answer, if its status is one of `ok`, after as many attempts as patience allows.

        Raises what `problem` makes of any other status.
        """
        patience = patience or self.patience()
        while True:
            try:
                return self.once(
                    method, url, scopes=scopes, ok=ok, headers=headers, body=body, patience=patience
                )
            except Retriable as failure:
                patience.pause(failure)

    def once(
        self,
        method: str,
        url: str,
        *,
        scopes: Scopes,
        ok: frozenset[int],
        patience: Patience,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        """As `call`, but one attempt: raises Retriable where another may help."""
        with self.stream(
            method, url, scopes=scopes, headers=headers, body=body, patience=patience
        ) as response:
            data = read_limited(response, patience)
            if response.status_code not in ok:
                raise self.problem(method, response, data)
            return Reply(response.status_code, response.headers, data, response.request.url)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        scopes: Scopes,
        patience: Patience,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[httpx.Response]:
        """One attempt's answer with its body unread, after redirects and authorization.

        Raises Retriable for a connection that fails or a status that says "try again"; inside the
        block, reading errors are the caller's to translate (`reading`). A HEAD is not followed to
        another host: that a registry sends there is the answer.
        """
        response = self._authorized(method, self.resolve(url), scopes, headers, body, patience)
        try:
            for _ in range(MAX_REDIRECTS):
                if method not in ("GET", "HEAD") or response.status_code not in _REDIRECTS:
                    break
                target = self._redirected(response)
                if method == "HEAD" and target.host != self.base.host:
                    break
                finish(response)
                response = self._authorized(method, target, scopes, headers, None, patience)
            if response.status_code in _RETRIED:
                reason = f"HTTP {response.status_code}"
                raise Retriable(reason, retry_after_s(response.headers.get("retry-after")))
            yield response
            finish(response)
        finally:
            response.close()

    def resolve(self, url: str) -> httpx.URL:
        """A path or a Location of this registry as an absolute URL.

        A registry behind a TLS proxy may write its own Locations with http: its host is ours, so
        the scheme is too.
        """
        target = join(self.base, url)
        if target.scheme == "http" and target.host == self.base.host:
            target = target.copy_with(scheme=self.base.scheme, port=self.base.port)
        return self._checked(target, self.base)

    def problem(self, method: str, response: httpx.Response, data: bytes) -> StoreRefusedError:
        """The error that says what this answer means and what to do about it."""
        return problem(
            host=self.host,
            method=method,
            path=response.request.url.path,
            status=response.status_code,
            denied="insufficient_scope" in response.headers.get("www-authenticate", ""),
            text=self._auth.scrub(data[:65536].decode("utf-8", "replace")),
            logged_in=self._auth.logged_in,
        )

    def _authorized(
        self,
        method: str,
        url: httpx.URL,
        scopes: Scopes,
        headers: Mapping[str, str] | None,
        body: Body | None,
        patience: Patience,
    ) -> httpx.Response:
        """One request, and once more with a login or a fresh token if the registry asks for it."""

        def fetch(
            method: str, url: str, headers: Mapping[str, str], data: bytes | None
        ) -> tuple[int, bytes]:
            content = None if data is None else Body.of(data)
            response = self._send(method, join(self.base, url), headers, content, patience)
            try:
                if response.status_code in _RETRIED:
                    after = retry_after_s(response.headers.get("retry-after"))
                    raise Retriable(f"its token server: HTTP {response.status_code}", after)
                return response.status_code, read_limited(response, patience)
            finally:
                response.close()

        ours = _origin(url) == _origin(self.base)
        sent = self._auth.header(scopes, fetch) if ours else None
        if ours:
            headers = {**self._more_headers(), **(headers or {})}
        first = self._send(method, url, _with(headers, sent), body, patience)
        if first.status_code != 401 or not ours:
            return first
        challenges = first.headers.get_list("www-authenticate")
        if not self._auth.challenged(challenges, scopes, sent):
            return first
        finish(first)
        sent = self._auth.header(scopes, fetch)
        return self._send(method, url, _with(headers, sent), body, patience)

    def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: Body | None,
        patience: Patience,
    ) -> httpx.Response:
        left_s = patience.left_s
        silence_s = min(self._timeout_s, left_s)
        request = httpx.Request(
            method,
            url,
            headers={
                "Host": url.netloc.decode("ascii"),
                "User-Agent": _USER_AGENT,
                "Accept-Encoding": "identity",
                **({"Content-Length": str(body.length)} if body else {}),
                **({"Content-Length": "0"} if body is None and method in ("POST", "PUT") else {}),
                **headers,
            },
            stream=None if body is None else BodyStream(body),
            extensions={
                "timeout": {
                    "connect": min(silence_s, 15.0),
                    "read": silence_s,
                    "write": silence_s,
                    "pool": left_s,
                }
            },
        )
        with reading():
            response = self._pools.for_url(url).handle_request(request)
        response.request = request
        return response

    def _redirected(self, response: httpx.Response) -> httpx.URL:
        where = response.headers.get("location", "")
        return self._checked(join(response.request.url, where), response.request.url)

    def _checked(self, target: httpx.URL, origin: httpx.URL) -> httpx.URL:
        if target.scheme != "https" and (target.scheme != "http" or origin.scheme == "https"):
            raise StoreRefusedError(
                f"{self.host} redirects to a place without https: ask its operator to correct it"
            )
        return target


def _with(headers: Mapping[str, str] | None, authorization: str | None) -> dict[str, str]:
    known = dict(headers or {})
    if authorization is not None:
        known["Authorization"] = authorization
    return known


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
