"""Credentials for package indexes: each belongs to one host, and is sent to no other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from builder.errors import InvalidSpecError

Origin = tuple[str, str, int]
_PORTS = {"https": 443, "http": 80}
_NAMED = re.compile(r"\{secret:(?P<name>[a-z0-9][a-z0-9._-]{0,62})\}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A user and a password for one origin: scheme, host and port."""

    name: str
    origin: Origin
    username: str = field(repr=False)
    password: str = field(repr=False)


class Secrets:
    """The secrets that one build may use, at most one for an origin."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._by_origin: dict[Origin, Secret] = {}
        self._names: dict[str, Secret] = {}
        for secret in secrets:
            self._by_origin.setdefault(secret.origin, secret)
            self._names[secret.name] = secret

    @property
    def origins(self) -> frozenset[Origin]:
        """What there are secrets for."""
        return frozenset(self._by_origin)

    def for_url(self, url: str) -> Secret | None:
        """The secret for the URL's origin."""
        origin = origin_of(url)
        return None if origin is None else self._by_origin.get(origin)

    def check(self, url: str) -> None:
        """Raise InvalidSpecError for a URL that names a secret this build may not send there."""
        name = secret_name(url)
        if name is None:
            return
        used = self.for_url(url)
        if used is not None and used.name == name:
            return
        host = urlsplit(without_user(url)).netloc
        if name in self._names:
            raise InvalidSpecError(
                f"The secret '{name}' is not for {host}; name the one that the operator made for "
                "that host."
            )
        raise InvalidSpecError(
            f"There is no secret '{name}' that this environment may use; ask the operator for one "
            f"for {host}."
        )


def secret_name(url: str) -> str | None:
    """The name in `https://{secret:NAME}@HOST/…`, None where none is named."""
    match = _NAMED.fullmatch(urlsplit(url).netloc.rpartition("@")[0])
    return match["name"] if match else None


def without_user(url: str) -> str:
    """The URL without what stands before the host."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def origin_of(url: str) -> Origin | None:
    """Scheme, host and port, None for what is no http or https URL."""
    try:
        parts = urlsplit(url)
        return _origin(parts)
    except ValueError:
        return None


def own_secret(url: str | None, name: str) -> Secret | None:
    """The credentials that stand in a URL of the operator's own settings, if any do."""
    if url is None or (origin := origin_of(url)) is None:
        return None
    parts = urlsplit(url)
    if parts.username is None and parts.password is None:
        return None
    return Secret(name, origin, unquote(parts.username or ""), unquote(parts.password or ""))


def _origin(parts: SplitResult) -> Origin | None:
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    host = parts.hostname.rstrip(".").lower()
    return parts.scheme, host, parts.port or _PORTS[parts.scheme]
