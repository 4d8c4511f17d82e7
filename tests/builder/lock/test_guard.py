"""The SOCKS proxy that uv connects through, spoken to byte by byte (RFC 1928, RFC 1929)."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from rig.http import QuietHandler, serve

from builder.errors import InvalidSpecError
from builder.guard import guard
from builder.source import HostPolicy

_GET = b"GET / HTTP/1.0\r\n\r\n"


def greeted(url: str, password: str | None = None) -> tuple[socket.socket, bytes]:
    """A connection to the guard that has shown a login, and the answer to that."""
    parts = urlsplit(url)
    user, word = (parts.username or "").encode(), (password or parts.password or "").encode()
    client = socket.create_connection(("127.0.0.1", parts.port or 0), timeout=30)
    client.sendall(b"\x05\x01\x02")
    assert client.recv(2) == b"\x05\x02"
    client.sendall(bytes((1, len(user))) + user + bytes((len(word),)) + word)
    return client, client.recv(2)


def asked(client: socket.socket, host: str, port: int, command: int = 1) -> int:
    """The status that the guard answers to a request for a host by name."""
    name = host.encode()
    client.sendall(bytes((5, command, 0, 3, len(name))) + name + port.to_bytes(2, "big"))
    return client.recv(10)[1]


def test_it_carries_what_the_policy_allows():
    with serve(QuietHandler) as port, guard(HostPolicy(private=True)) as guarded:
        client, status = greeted(guarded.url)
        assert status == b"\x01\x00"
        assert asked(client, "localhost", port) == 0
        client.sendall(_GET)
        assert client.recv(12).startswith(b"HTTP/1.")
        client.close()
        assert guarded.refused is None


def test_it_refuses_private_hosts_but_for_the_operators_own_ports():
    with serve(QuietHandler) as port, guard(HostPolicy(), {("127.0.0.1", port)}) as guarded:
        for host in ("localhost", "127.0.0.2", "169.254.169.254", "0x7f.1", "::1"):
            client, _ = greeted(guarded.url)
            assert asked(client, host, port) == 2
            client.close()
        assert isinstance(guarded.refused, InvalidSpecError)
        client, _ = greeted(guarded.url)
        assert asked(client, "127.0.0.1", port + 1) == 2
        client.close()
        client, _ = greeted(guarded.url)
        assert asked(client, "127.0.0.1", port) == 0
        client.close()


def test_it_serves_nobody_without_its_password_and_does_nothing_but_connect():
    with guard(HostPolicy(private=True)) as guarded:
        client, status = greeted(guarded.url, "wrong")
        assert status == b"\x01\x01"
        assert client.recv(1) == b""
        client.close()
        client, _ = greeted(guarded.url)
        assert asked(client, "localhost", 80, command=2) == 7
        client.close()
        bare = socket.create_connection(("127.0.0.1", urlsplit(guarded.url).port or 0), timeout=30)
        bare.sendall(b"\x05\x01\x00")
        assert bare.recv(2) == b"\x05\xff"
        bare.close()


def test_a_name_without_an_address_is_unreachable():
    with guard(HostPolicy()) as guarded:
        client, _ = greeted(guarded.url)
        assert asked(client, "nowhere.invalid", 80) == 4
        client.close()


@pytest.mark.parametrize("junk", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x05\xff", b"\x05\x01\x02\x01"])
def test_junk_ends_with_its_connection(junk):
    with serve(QuietHandler) as port, guard(HostPolicy(private=True)) as guarded:
        bad = socket.create_connection(("127.0.0.1", urlsplit(guarded.url).port or 0), timeout=30)
        bad.sendall(junk)
        bad.close()
        client, _ = greeted(guarded.url)
        assert asked(client, "127.0.0.1", port) == 0
        client.close()
