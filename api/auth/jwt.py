"""A token of the identity provider: checked (RFC 7519, 8725), and read for who it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from api.auth.errors import CredentialError
from api.auth.provider import Provider
from api.auth.settings import IdentitySettings

MAX_CHARS = 16 * 1024
_MAX_NAME_CHARS = 255
_MAX_GROUPS = 1000
_TRIED = 4  # keys, for a token that names none
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# Names that others than the provider give.
_RESERVED = ("system:", "kitbag:")
_WRONG = (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError, KeyError)


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token is about."""

    user: str
    groups: frozenset[str]
    claims: Mapping[str, Any]


def issuer_of(token: str) -> str | None:
    """Who a token says it is from, unchecked; None for what is no token or says nothing."""
    try:
        if len(token) > MAX_CHARS:
            return None
        claims = jwt.decode(token, options={"verify_signature": False})
    except _WRONG:
        return None
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else None


async def check(
    token: str, provider: Provider, *, audiences: tuple[str, ...] | None = None
) -> Person:
    """Who the token is about; raises CredentialError, and AwayError where that can't be told.

    `audiences` are those of the settings unless given.
    """
    settings = provider.settings
    header = _header(token, settings)
    found = [
        key for key in await provider.keys(header.get("kid")) if header["alg"] in key.algorithms
    ]
    if not found:
        raise CredentialError("it is signed with a key that the identity provider doesn't have")
    for key in found[:_TRIED]:
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=audiences or settings.audiences,
                issuer=settings.oidc_issuer,
                leeway=settings.oidc_leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except _WRONG as error:
            raise CredentialError(_reason(error)) from error
        return person_of(claims, settings)
    raise CredentialError("its signature is wrong")


def _header(token: str, settings: IdentitySettings) -> Mapping[str, Any]:
    if len(token) > MAX_CHARS:
        raise CredentialError(f"it is longer than {MAX_CHARS:,} characters")
    try:
        header = jwt.get_unverified_header(token)
    except _WRONG as error:
        raise CredentialError("it can't be read") from error
    if header.get("alg") not in settings.oidc_algorithms:
        raise CredentialError("it is signed in a way that this server doesn't take")
    if "crit" in header:
        raise CredentialError("it asks for what this server doesn't know (crit)")
    kind = header.get("typ")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise CredentialError("it is of another type (typ)")
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > _MAX_NAME_CHARS):
        raise CredentialError("its key has no readable name (kid)")
    return header


def _reason(error: Exception) -> str:
    reasons: tuple[tuple[type[Exception], str], ...] = (
        (jwt.ExpiredSignatureError, "it has expired; sign in again"),
        (jwt.ImmatureSignatureError, "it is not valid yet; check the clocks"),
        (jwt.InvalidAudienceError, "it was made for others (aud)"),
        (jwt.InvalidIssuerError, "it is from somebody else (iss)"),
        (jwt.MissingRequiredClaimError, f"it lacks a claim ({error})"),
    )
    return next((text for kind, text in reasons if isinstance(error, kind)), "it can't be read")


def person_of(claims: Mapping[str, Any], settings: IdentitySettings) -> Person:
    """Who checked claims are about; raises CredentialError where they don't say."""
    path = settings.oidc_user_claim
    user = _at(claims, path)
    if not isinstance(user, str) or not user.strip() or len(user) > _MAX_NAME_CHARS:
        raise CredentialError(f"it doesn't say who you are ({path})")
    if not user.isprintable() or user.startswith(_RESERVED):
        raise CredentialError(f"its {path} is no user's name")
    if path == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise CredentialError("its email address was never verified")
    groups = (name for each in settings.oidc_groups_claims for name in _names(_at(claims, each)))
    return Person(user, frozenset(list(groups)[:_MAX_GROUPS]), claims)


def _at(claims: Mapping[str, Any], path: str) -> object:
    """The claim of that name, or at that path of names; None where there is none."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _names(value: object) -> Iterator[str]:
    listed = value if isinstance(value, list) else [value]
    for each in listed:
        if isinstance(each, str) and 0 < len(each) <= _MAX_NAME_CHARS:
            yield each
