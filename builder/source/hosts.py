"""Which network hosts a user's URL may reach: an answer to server-side request forgery."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from builder.errors import BuildError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """Public hosts only, unless `private` is set or a host is named in `allowed`.

    `allowed` holds host names (`git.corp.example`, or `.corp.example` for everything below it),
    addresses and networks (`10.1.0.0/16`).
    """

    private: bool = False
    allowed: frozenset[str] = frozenset()

    def check(self, host: str, refused: type[BuildError]) -> tuple[Address, ...]:
        """The addresses of `host`, every one of them allowed; empty when the name isn't known.

        A name that has no address here is left to the client, which fails with a better reason or
        asks a proxy that knows it. Raises `refused` for a host that is not allowed.
        """
        name = host.strip("[]").rstrip(".").lower()
        if not name:
            raise refused("The URL names no host; give one such as https://HOST/OWNER/REPO.")
        addresses = _addresses(name)
        if self.private or self._named(name):
            return addresses
        if name == "localhost" or name.endswith(".localhost"):
            raise refused(_sentence(host))
        for address in addresses:
            if not (is_public(address) or self._networked(address)):
                raise refused(_sentence(host))
        return addresses

    def _named(self, name: str) -> bool:
        return any(
            name == entry or (entry.startswith(".") and name.endswith(entry))
            for entry in self.allowed
        )

    def _networked(self, address: Address) -> bool:
        for entry in self.allowed:
            try:
                network = ipaddress.ip_network(entry, strict=False)
            except ValueError:
                continue
            if address.version == network.version and address in network:
                return True
        return False


def is_public(address: Address) -> bool:
    """Whether the address is one of the Internet's, also where IPv6 embeds an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def _addresses(name: str) -> tuple[Address, ...]:
    try:
        # inet_aton forms (127.1, 0x7f.1, 2130706433) are resolved here as clients resolve them.
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    texts = {str(entry[4][0]).split("%", 1)[0] for entry in found}
    return tuple(sorted((ipaddress.ip_address(text) for text in texts), key=lambda a: a.packed))


def _sentence(host: str) -> str:
    return (
        f"The host {host!r} is on a private, loopback or link-local address, which this server "
        "does not fetch from; ask the operator to allow it."
    )
