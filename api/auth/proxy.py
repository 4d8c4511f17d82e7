"""Who a trusted proxy says is asking, in a header that counts from its addresses alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from api.auth.settings import IdentitySettings

_MAX_CHARS = 255
_MAX_GROUPS = 1000
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxied:
    """Who a proxy says is asking."""

    user: str
    groups: frozenset[str]


class Proxies:
    """The proxies whose headers are believed."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._networks: Sequence[_Network] = [
            ipaddress.ip_network(each) for each in settings.trusted_proxies
        ]

    def said_by(self, request: Request) -> Proxied | None:
        """Whom the proxy that sent the request named; None where no trusted one did.

        A name that comes twice is no name: a proxy would have to have added to the caller's own.
        """
        settings = self._settings
        if not settings.user_header or not self._trusts(request):
            return None
        given = request.headers.getlist(settings.user_header)
        user = given[0].strip() if len(given) == 1 else ""
        reserved = user.startswith(("system:", "kitbag:"))
        if not user or reserved or len(user) > _MAX_CHARS or not user.isprintable():
            return None
        listed = request.headers.getlist(settings.groups_header) if settings.groups_header else []
        groups = [each.strip() for line in listed for each in line.split(",")]
        fit = [group for group in groups if 0 < len(group) <= _MAX_CHARS]
        return Proxied(user, frozenset(fit[:_MAX_GROUPS]))

    def _trusts(self, request: Request) -> bool:
        host = request.client.host if request.client else ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
