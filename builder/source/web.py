"""HTTP to hosts that a repository names: only to those that the policy allows.

On httpx's transports rather than its client, which logs every URL, signed ones included, and keeps
cookies.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from builder.errors import GitRefusedError
from builder.source.model import SourcePolicy

_TIMEOUT_S = 30.0


class Web:
    """Requests one by one; redirects are the caller's.

    The address that was checked is the one that is used, whatever DNS says next. Where the worker's
    environment names a proxy, that makes the connections, and must itself keep to public hosts.
    """

    def __init__(self, policy: SourcePolicy) -> None:
        bundle = None if policy.ca_bundle is None else str(policy.ca_bundle)
        self._hosts = policy.hosts
        self._trusted = ssl.create_default_context(cafile=bundle)
        # By name: two names with one address may not share a connection.
        self._transports: dict[str, httpx.HTTPTransport] = {}

    def close(self) -> None:
        """End the connections."""
        for transport in self._transports.values():
            transport.close()

    @contextmanager
    def stream(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes | None = None
    ) -> Iterator[httpx.Response]:
        """The answer, whose body is still to be read; raises GitRefusedError, httpx.HTTPError."""
        addresses = self._hosts.check(url.host, GitRefusedError)
        proxy = _proxy_of(url)
        extensions: dict[str, Any] = {"timeout": httpx.Timeout(_TIMEOUT_S).as_dict()}
        target = url
        if proxy is None and addresses:
            target = url.copy_with(host=str(addresses[0]))
            extensions["sni_hostname"] = url.host
        # Not packed: a hash is over the content as it is stored.
        usual = {"Host": url.netloc.decode(), "Accept-Encoding": "identity"}
        request = httpx.Request(
            method, target, headers=usual | dict(headers), content=content, extensions=extensions
        )
        response = self._transport(proxy, url.host).handle_request(request)
        try:
            yield response
        finally:
            response.close()

    def _transport(self, proxy: str | None, host: str) -> httpx.HTTPTransport:
        key = proxy or host
        if key not in self._transports:
            self._transports[key] = httpx.HTTPTransport(verify=self._trusted, proxy=proxy)
        return self._transports[key]


def _proxy_of(url: httpx.URL) -> str | None:
    """The proxy for the URL, by the variables that curl and git read."""
    proxies = urllib.request.getproxies_environment()
    wanted = proxies.get(url.scheme) or proxies.get("all")
    if not wanted or urllib.request.proxy_bypass(url.host, proxies):
        return None
    return wanted if "://" in wanted else f"http://{wanted}"
