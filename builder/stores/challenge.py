"""What a registry's WWW-Authenticate headers ask for, and the scopes that tokens are asked with.

Source: RFC 9110 section 11.6.1, and the Distribution project's token authentication specification.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MAX_HEADER_LENGTH = 8192
MAX_SCOPES = 64

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # RFC 9110's word for a bare word
_SCHEME = re.compile(rf"\s*({_TOKEN})(?:\s+|$|(?=,))")
_PARAM = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')

Scopes = frozenset[str]
"""Single actions such as `repository:hep/3dgan:pull`, so that a wider token is a superset."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme (lower case) and its parameters."""

    scheme: str
    params: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of all headers, in order; what can't be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        text, at = header[:MAX_HEADER_LENGTH], 0
        while scheme := _SCHEME.match(text, at):
            at = scheme.end()
            params: dict[str, str] = {}
            while param := _PARAM.match(text, at):
                name, quoted, bare = param.groups()
                params[name.lower()] = bare or re.sub(r"\\(.)", r"\1", quoted or "")
                at = param.end()
            found.append(Challenge(scheme[1].lower(), params))
            while at < len(text) and text[at] in ", \t":
                at += 1
    return found


def pull(repo: str) -> Scopes:
    """The scope to read a repository."""
    return frozenset({f"repository:{repo}:pull"})


def push(repo: str) -> Scopes:
    """The scope to read and write a repository."""
    return frozenset({f"repository:{repo}:pull", f"repository:{repo}:push"})


def delete(repo: str) -> Scopes:
    """The scope to delete in a repository; to some registries that is a kind of push."""
    return push(repo) | {f"repository:{repo}:delete"}


def parse_scopes(text: str) -> Scopes:
    """The single actions of a challenge's scope parameter; at most MAX_SCOPES of them."""
    actions = [
        f"{name}:{action}"
        for scope in text.split()
        for name, _, joined in [scope.rpartition(":")]
        if name
        for action in joined.split(",")
        if action
    ]
    return frozenset(actions[:MAX_SCOPES])


def render_scopes(scopes: Scopes) -> list[str]:
    """One text a resource, sorted: what the `scope` parameters of a token request hold."""
    by_name: dict[str, list[str]] = {}
    for scope in sorted(scopes):
        name, _, action = scope.rpartition(":")
        by_name.setdefault(name, []).append(action)
    return [f"{name}:{','.join(actions)}" for name, actions in sorted(by_name.items())]
