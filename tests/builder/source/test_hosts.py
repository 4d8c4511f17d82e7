"""Which hosts may be reached."""

from __future__ import annotations

import ipaddress

import pytest

from builder.errors import GitRefusedError
from builder.source import HostPolicy
from builder.source.hosts import is_public


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1",
        "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:a00:1::1",
    ],
)  # fmt: skip
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_names_suffixes_addresses_and_networks_can_be_allowed() -> None:
    policy = HostPolicy(
        allowed=frozenset({"git.corp.example", ".internal.example", "10.1.0.0/16", "127.0.0.1"})
    )
    policy.check("git.corp.example", GitRefusedError)
    policy.check("GIT.corp.example.", GitRefusedError)
    policy.check("a.b.internal.example", GitRefusedError)
    policy.check("10.1.255.1", GitRefusedError)
    policy.check("127.0.0.1", GitRefusedError)
    for refused in ("10.2.0.1", "127.0.0.2", "localhost", "[::1]"):
        with pytest.raises(GitRefusedError):
            policy.check(refused, GitRefusedError)


def test_a_name_without_an_address_is_left_to_the_client() -> None:
    assert HostPolicy().check("no-such-host.invalid", GitRefusedError) == ()


def test_no_host_at_all_is_refused() -> None:
    with pytest.raises(GitRefusedError, match="names no host"):
        HostPolicy(private=True).check("", GitRefusedError)
