"""Connections that go to the very address that a host policy allowed.

A name that is checked and then looked up again by whoever connects may have another address by then
(DNS rebinding), and a redirect may lead anywhere: so the check is where the connection is made.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterable

import httpcore
import httpx

from builder.errors import BuildError
from builder.source import HostPolicy


class Pinned(httpcore.NetworkBackend):
    """Looks a name up once, asks the policy, and connects to what it allowed.

    `own` are hosts that the policy is not asked about; it may grow. A host that is
    not allowed raises `refused`.
    """

    def __init__(
        self, policy: HostPolicy, refused: type[BuildError], own: set[str] | None = None
    ) -> None:
        self._policy, self._refused = policy, refused
        self.own = own if own is not None else set()
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first allowed address that takes it."""
        places = [host]
        if host.lower() not in self.own:
            places = [str(each) for each in self._policy.check(host, self._refused)]
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for place in places:
            try:
                return self._network.connect_tcp(
                    place, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def sleep(self, seconds: float) -> None:
        """Wait, as httpcore does between attempts to connect."""
        time.sleep(seconds)


def pin(transport: httpx.HTTPTransport, backend: Pinned) -> httpx.HTTPTransport:
    """The transport, with its connections made by the backend.

    httpx hands httpcore no backend, so it is put where httpcore keeps its own.
    """
    transport._pool._network_backend = backend
    return transport


def has_proxy() -> bool:
    """Whether a proxy of the site's makes the connections: it looks names up, and decides."""
    known = urllib.request.getproxies()
    return any(known.get(scheme) for scheme in ("http", "https", "all"))
