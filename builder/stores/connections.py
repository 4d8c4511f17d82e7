"""The connections to a registry: kept alive, trusted, and through a proxy where one is set."""

from __future__ import annotations

import ssl
import threading
import urllib.request
from pathlib import Path

import httpx

from builder.errors import StoreRefusedError
from builder.pinned import Pinned, pin
from builder.source import HostPolicy
from builder.stores.names import is_loopback


class Connections:
    """Pools made when first needed: one without TLS, one with, and one for each proxy in use.

    `kept` is how many idle connections stay open, `ca_bundle` adds certificate authorities;
    reading them takes 50 ms, which a registry without TLS need not cost. `policy` says what may be
    connected to, also after redirects and for tokens: anything without one.
    """

    def __init__(self, ca_bundle: Path | None, kept: int, policy: HostPolicy | None = None) -> None:
        self._ca_bundle = ca_bundle
        self._backend = None if policy is None else Pinned(policy, StoreRefusedError)
        # Callers' threads are the limit: a hard one could deadlock a copy inside one registry,
        # whose threads hold a download each while they wait for a connection to upload.
        self._limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=kept, keepalive_expiry=60
        )
        self._lock = threading.Lock()
        self._pools: dict[tuple[bool, str | None], httpx.HTTPTransport] = {}

    def for_url(self, url: httpx.URL) -> httpx.HTTPTransport:
        """The pool for a URL; this machine itself is never asked through a proxy."""
        proxy = _proxy(url)
        key = (url.scheme == "https" or proxy is not None, proxy)
        with self._lock:
            if key not in self._pools:
                pool = httpx.HTTPTransport(
                    verify=trust(self._ca_bundle) if key[0] else False,
                    limits=self._limits,
                    proxy=proxy,
                )
                if self._backend is not None and proxy is None:
                    pin(pool, self._backend)
                self._pools[key] = pool
            return self._pools[key]

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()


def trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """The public certificate authorities, the system's, and those of the bundle.

    $SSL_CERT_FILE and $SSL_CERT_DIR stand instead of the former two, as for any OpenSSL program.
    """
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if ca_bundle is not None:
        try:
            context.load_verify_locations(ca_bundle)
        except (OSError, ssl.SSLError):
            raise StoreRefusedError(
                f"The CA bundle {ca_bundle} can't be read as PEM certificates: correct its path"
            ) from None
    return context


def _proxy(url: httpx.URL) -> str | None:
    if is_loopback(url.netloc.decode("ascii")):
        return None
    known = urllib.request.getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    return proxy if proxy and not urllib.request.proxy_bypass(url.host) else None
