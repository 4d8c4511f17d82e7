"""Public keys that sign tokens, out of a JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

log = logging.getLogger(__name__)
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048
# Which keys check which algorithms: a key never checks what it wasn't made for.
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CHECKS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("RSA", ""): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, by what it is called and with what it may check."""

    kid: str | None
    algorithms: tuple[str, ...]
    key: Any


def readable(jwks: Mapping[str, Any]) -> tuple[PublicKey, ...]:
    """The public keys of a set that sign; others are left out. ValueError where it is no set."""
    listed = jwks.get("keys")
    if not isinstance(listed, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 - of what others sent
    found = (_public(each) for each in listed[:_MAX_KEYS] if isinstance(each, dict))
    return tuple(key for key in found if key is not None)


def _public(jwk: Mapping[str, Any]) -> PublicKey | None:
    kty, kid = jwk.get("kty"), jwk.get("kid")
    curve = jwk.get("crv", "") if kty != "RSA" else ""
    if not isinstance(kty, str) or not isinstance(curve, str):
        return None
    algorithms = _CHECKS.get((kty, curve), ())
    if jwk.get("alg") is not None:
        algorithms = tuple(name for name in algorithms if name == jwk["alg"])
    if not algorithms or jwk.get("use", "sig") != "sig":
        return None
    public = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}
    try:
        key = PyJWK(public, algorithm=algorithms[0]).key
    except (PyJWTError, ValueError, TypeError, KeyError) as error:
        log.warning("a key of the identity provider can't be read: %s", type(error).__name__)
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        log.warning("a key of the identity provider is too short: %d bits", key.key_size)
        return None
    return PublicKey(kid if isinstance(kid, str) else None, algorithms, key)
