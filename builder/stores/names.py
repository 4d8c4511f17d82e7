"""Which hosts, repository names, tags and digests may become part of a URL or of a path.

Source of the patterns: OCI distribution-spec v1.1, "Pulling manifests", and image-spec v1.1,
"Descriptors" (only sha256, the one algorithm that every registry and runtime has).
"""

from __future__ import annotations

import hashlib
import ipaddress
import re

from builder.errors import InvalidSpecError

MAX_REPO_LENGTH = 255

_REPO = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
)

# The one registry whose images are written without its host, and whose API and credentials live
# under names of their own.
_HUB = "docker.io"
_HUB_ALIASES = frozenset({_HUB, f"index.{_HUB}", f"registry-1.{_HUB}"})


def check_repo(repo: str) -> str:
    """The repository path itself, such as `hep/3dgan`; InvalidSpecError if it isn't one."""
    if len(repo) > MAX_REPO_LENGTH or not _REPO.fullmatch(repo):
        raise InvalidSpecError(
            f"{repo[:80]!r} is not a repository name: use lower-case letters, digits, '.', '_' "
            "and '-', with '/' between the parts"
        )
    return repo


def check_tag(tag: str) -> str:
    """The tag itself; InvalidSpecError if it isn't one."""
    if not _TAG.fullmatch(tag):
        raise InvalidSpecError(
            f"{tag[:80]!r} is not a tag: use at most 128 letters, digits, '.', '_' and '-'"
        )
    return tag


def check_digest(digest: str) -> str:
    """The digest itself; InvalidSpecError if it isn't `sha256:` and 64 lower-case hex digits."""
    if not is_digest(digest):
        raise InvalidSpecError(f"{digest[:80]!r} is not a digest: sha256: and 64 hex digits")
    return digest


def check_reference(reference: str) -> str:
    """A tag or a digest; InvalidSpecError if it is neither."""
    return reference if is_digest(reference) else check_tag(reference)


def check_host(host: str) -> str:
    """`host` or `host:port` itself; InvalidSpecError if it isn't one."""
    if not _HOST.fullmatch(host):
        raise InvalidSpecError(f"{host[:80]!r} is not a registry host: write HOST or HOST:PORT")
    return host


def is_digest(text: str) -> bool:
    """Whether the text is a sha256 digest as manifests write it."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    """The digest of these bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_hub(host: str) -> bool:
    """Whether the host is the public hub under any of its names."""
    return host in _HUB_ALIASES


def api_host(host: str) -> str:
    """Where the API of a registry answers; other than the host itself only for the public hub."""
    return f"registry-1.{_HUB}" if is_hub(host) else host


def credential_hosts(host: str) -> tuple[str, ...]:
    """The names under which a Docker config may keep the credentials of this registry."""
    return (f"index.{_HUB}", _HUB, f"registry-1.{_HUB}") if is_hub(host) else (host,)


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` can only be this machine, where plain HTTP is safe."""
    bare = host[1 : host.index("]")] if host.startswith("[") else host.rsplit(":", 1)[0]
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
