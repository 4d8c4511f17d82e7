"""What an engine's client says of a registry, and whose fault that is."""

from __future__ import annotations

import pytest

from builder.engines.failures import is_away


@pytest.mark.parametrize(
    "said",
    [
        'Get "http://127.0.0.1:5000/v2/": EOF',
        'Get "https://r.example/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
        "read tcp 10.0.0.2:1->10.0.0.1:443: read: connection reset by peer",
        "received unexpected HTTP status: 503 Service Unavailable",
        'Get "https://r.example/v2/": net/http: TLS handshake timeout',
    ],
)
def test_a_registry_that_is_away_may_be_asked_again(said: str) -> None:
    assert is_away(said)


@pytest.mark.parametrize(
    "said",
    [
        "unauthorized: authentication required",
        "denied: requested access to the resource is denied",
        "denied: quota of 500 MiB exceeded",
        "no basic auth credentials",
    ],
)
def test_a_registry_that_says_no_is_not_away(said: str) -> None:
    assert not is_away(said)
