"""An identity provider: OpenID Connect with real RSA keys that rotate, and whoever is to sign in.

It speaks discovery, the key set, and the authorization code flow with PKCE (OpenID Connect Core 1.0
and RFC 7636) as far as a client sees them. A proxy has no current Dex as a Go module,
and Keycloak is a Java server of 400 MB: `dex_claims` and `keycloak_claims` are what theirs say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from rig.http import QuietHandler, serve

CLIENT, SECRET = "kitbag", "a client's secret: %/+"


class Provider:
    """A running provider; `claims` are those of whoever signs in next."""

    def __init__(self) -> None:
        self.issuer = ""
        self.claims: dict[str, Any] = {}
        self.away = False
        self.answering = threading.Event()
        self.answering.set()
        self.asked: list[str] = []
        self.redirect_uris: set[str] = set()
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.more_keys: list[dict[str, Any]] = []
        self._codes: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self.rotate()

    def rotate(self, *, forget: bool = False) -> str:
        """Sign with a new key from now on; returns its name."""
        if forget:
            self.keys.clear()
        self.kid = secrets.token_hex(8)
        self.keys[self.kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self.kid

    def token(self, claims: Mapping[str, Any], /, **header: Any) -> str:
        """A token with these claims and usual ones; None takes one away."""
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "sub": "1"}
        whole = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(
            whole, self.keys[self.kid], algorithm="RS256", headers={"kid": self.kid, **header}
        )

    @property
    def jwks(self) -> dict[str, Any]:
        keys = [
            {
                **json.loads(RSAAlgorithm.to_jwk(key.public_key())),
                "kid": kid,
                "use": "sig",
                "alg": "RS256",
            }
            for kid, key in self.keys.items()
        ]
        return {"keys": [*keys, *self.more_keys]}

    def authorize(self, query: Mapping[str, str]) -> str | None:
        """Where the browser goes next, with a code; None for what this provider refuses."""
        good = (
            query.get("response_type") == "code"
            and query.get("client_id") == CLIENT
            and query.get("redirect_uri") in self.redirect_uris
            and query.get("code_challenge_method") == "S256"
            and "openid" in query.get("scope", "").split()
        )
        if not good:
            return None
        code = secrets.token_urlsafe(16)
        self._codes[code] = (dict(query), dict(self.claims))
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def exchange(self, form: Mapping[str, str], client: str) -> tuple[int, dict[str, Any]]:
        """The tokens for a code, once."""
        if client != f"{CLIENT}:{SECRET}":
            return 401, {"error": "invalid_client"}
        asked, claims = self._codes.pop(form.get("code", ""), ({}, {}))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            not asked
            or challenge != asked["code_challenge"]
            or form.get("redirect_uri") != asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        token = self.token({"nonce": asked["nonce"], **claims})
        return 200, {"token_type": "Bearer", "access_token": "opaque", "id_token": token}


def dex_claims(email: str, *groups: str) -> dict[str, Any]:
    """What Dex's tokens say (its documentation, "ID tokens")."""
    return {
        "sub": "CgcyMzQyNzQ5EgZnaXRodWI",
        "at_hash": "x",
        "email": email,
        "email_verified": True,
        "groups": list(groups),
        "name": email.partition("@")[0],
    }


def keycloak_claims(email: str, *roles: str, groups: tuple[str, ...] = ()) -> dict[str, Any]:
    """What Keycloak's access tokens say with an audience mapper for the client."""
    return {
        "sub": "f:9b:1",
        "typ": "Bearer",
        "azp": "other-client",
        "aud": [CLIENT, "account"],
        "email": email,
        "email_verified": True,
        "preferred_username": email.partition("@")[0],
        "realm_access": {"roles": list(roles)},
        "groups": list(groups),
        "scope": "openid",
        "resource_access": {"account": {"roles": ["view-profile"]}},
    }


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    provider = Provider()

    class Handler(QuietHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            provider.asked.append(parts.path)
            provider.answering.wait(60)
            if provider.away:
                self._send(503, {"error": "away"})
            elif parts.path == "/realm/.well-known/openid-configuration":
                at = provider.issuer
                self._send(
                    200,
                    {
                        "issuer": at,
                        "jwks_uri": f"{at}/keys",
                        "token_endpoint": f"{at}/token",
                        "authorization_endpoint": f"{at}/auth",
                    },
                )
            elif parts.path == "/realm/keys":
                self._send(200, provider.jwks)
            elif parts.path == "/realm/auth":
                query = {name: each[0] for name, each in parse_qs(parts.query).items()}
                to = provider.authorize(query)
                self._send(400 if to is None else 302, {}, to)
            elif parts.path == "/realm/token" and self.command == "POST":
                self._token()
            else:
                self._send(404, {})

        def _token(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: each[0] for name, each in parse_qs(body).items()}
            kind, _, shown = self.headers.get("authorization", "").partition(" ")
            client = base64.b64decode(shown).decode() if kind == "Basic" else ""
            name, _, secret = client.partition(":")
            self._send(*provider.exchange(form, f"{_decoded(name)}:{_decoded(secret)}"))

        def _send(self, status: int, content: Mapping[str, Any], to: str | None = None) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            if to is not None:
                self.send_header("Location", to)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serve(Handler) as port:
        provider.issuer = f"http://127.0.0.1:{port}/realm"
        yield provider


def _decoded(text: str) -> str:
    return parse_qs(f"a={text}", keep_blank_values=True).get("a", [""])[0]
