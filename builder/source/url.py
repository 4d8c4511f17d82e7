"""Read a git URL, and refuse the ones that would do more than fetch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from builder.errors import GitRefusedError
from builder.source.hosts import Address
from builder.source.model import SourcePolicy

_SCP = re.compile(r"(?:(?P<user>[\w.-]+)@)?(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?P<path>[^:].*)")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
MAX_URL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class GitUrl:
    """A git URL taken apart. `text` has no password in it; `addresses` are those of the host."""

    text: str
    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None
    addresses: tuple[Address, ...] = ()

    def hide(self, text: str) -> str:
        """`text` without this URL's password and without any URL's user part."""
        if self.password:
            text = text.replace(self.password, "***").replace(quote(self.password, safe=""), "***")
        return strip_userinfo(text)


def strip_userinfo(text: str) -> str:
    """`text` with `user:password@` removed from every URL in it."""
    return re.sub(r"(?<=://)[^/@\s'\"]*@", "", text)


def read_url(url: str, policy: SourcePolicy) -> GitUrl:
    """The parts of a git URL; raises GitRefusedError for a transport or host not allowed."""
    if len(url) > MAX_URL_CHARS or not url.isprintable() or " " in url:
        raise GitRefusedError("The git URL is too long or has blanks or control characters in it.")
    if url.startswith("-") or "::" in url.split("/", 1)[0].split("[", 1)[0]:
        raise GitRefusedError(
            "That is not a git URL that is fetched from; give one such as https://HOST/OWNER/REPO."
        )
    if "://" not in url:
        url = absolute(url)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise GitRefusedError("The git URL can't be read; check its brackets and port.") from error
    scheme = parts.scheme.lower()
    if scheme not in policy.protocols or scheme not in {*_PORTS, "file"}:
        allowed = ", ".join(sorted(policy.protocols))
        raise GitRefusedError(
            f"Git over '{scheme}' is not allowed here; use a URL with one of: {allowed}."
        )
    if parts.query or parts.fragment:
        raise GitRefusedError(
            "The git URL has a query or fragment; give the ref on its own (--ref)."
        )
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise GitRefusedError("A file: URL names no host; write it as file:///PATH.")
        return GitUrl(f"file://{parts.path}", scheme, "", 0, None, None)
    host = parts.hostname or ""
    try:
        port = parts.port or _PORTS[scheme]
    except ValueError as error:
        raise GitRefusedError("The port of the git URL is not a number up to 65535.") from error
    if host.startswith("-") or parts.path.startswith("/-"):
        raise GitRefusedError("No part of a git URL may start with a dash.")
    addresses = policy.hosts.check(host, GitRefusedError)
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if user and (user.startswith("-") or not user.isprintable()):
        raise GitRefusedError("The user name in the git URL may not start with a dash.")
    where = f"[{host}]" if ":" in host else host
    if port != _PORTS[scheme]:
        where += f":{port}"
    if scheme == "ssh" and user:
        where = f"{quote(user)}@{where}"
    return GitUrl(f"{scheme}://{where}{parts.path}", scheme, host, port, user, password, addresses)


def absolute(url: str) -> str:
    """A URL for what has no `://`: a path, or ssh's short form `user@host:path`."""
    if url.startswith("/"):
        return f"file://{url}"
    short = _SCP.fullmatch(url)
    if short is None:
        raise GitRefusedError(
            "That is not a git URL; give one such as https://HOST/OWNER/REPO, or a folder."
        )
    user = f"{short['user']}@" if short["user"] else ""
    return f"ssh://{user}{short['host']}/{short['path'].lstrip('/')}"
