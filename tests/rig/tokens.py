"""The token server that a registry with `auth: token` sends its clients to.

Source: the Distribution project's "Token Authentication Specification" and "Token Authentication
Implementation" (the claims, the access list, the `x5c` header that names the signing key).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from rig.certificate import self_signed
from rig.http import QuietHandler, serve
from rig.process import program


@dataclass(slots=True)
class TokenServer:
    """A signer of bearer tokens, and what it was asked for.

    `public` names the repositories that anyone may pull; everything else needs a user.
    """

    realm: str
    certificate: Path
    lifetime_s: int
    service: str = "kitbag-registry"
    issuer: str = "kitbag-rig"
    public: set[str] = field(default_factory=set)
    asked: list[tuple[str | None, list[str]]] = field(default_factory=list)

    @property
    def registry_config(self) -> dict[str, str]:
        """The `auth.token` part of the configuration of a registry that trusts this server."""
        return {
            "realm": self.realm,
            "service": self.service,
            "issuer": self.issuer,
            "rootcertbundle": str(self.certificate),
        }


@contextmanager
def token_server(
    folder: Path, users: Mapping[str, str], *, lifetime_s: int = 300
) -> Iterator[TokenServer]:
    """Serve tokens for these users (name -> password) with a fresh key kept in `folder`."""
    certificate = self_signed(folder, "token")
    openssl = program("openssl", "openssl")
    x5c = certificate.path.read_text().split("-----")[2].replace("\n", "")

    def sign(claims: Mapping[str, object]) -> str:
        header = {"typ": "JWT", "alg": "RS256", "x5c": [x5c]}
        signed = f"{_segment(header)}.{_segment(claims)}"
        signature = subprocess.run(
            [openssl, "dgst", "-sha256", "-sign", str(certificate.key)],
            input=signed.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{signed}.{_base64url(signature)}"

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            scopes = " ".join(query.get("scope", [])).split()
            if self.command != "GET":  # as many real ones: no OAuth2 form
                self._answer(405, {"details": "only GET"})
                return
            user = _user(self.headers.get("Authorization"))
            name = user[0] if user else None
            server.asked.append((name, scopes))
            if user is not None and users.get(user[0]) != user[1]:
                self._answer(401, {"details": "incorrect username or password"})
                return
            if query.get("service") != [server.service]:
                self._answer(400, {"details": "unknown service"})
                return
            now = int(time.time())
            token = sign(
                {
                    "iss": server.issuer,
                    "sub": name or "",
                    "aud": server.service,
                    "iat": now,
                    "nbf": now - 5,
                    "exp": now + server.lifetime_s,
                    "jti": secrets.token_hex(8),
                    "access": [_grant(s, name, server.public) for s in scopes],
                }
            )
            self._answer(200, {"token": token, "expires_in": server.lifetime_s})

        def _answer(self, status: int, body: Mapping[str, object]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with serve(Handler) as port:
        server = TokenServer(f"http://127.0.0.1:{port}/token", certificate.path, lifetime_s)
        yield server


def _grant(scope: str, user: str | None, public: set[str]) -> dict[str, object]:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    if user is not None:
        allowed = actions.split(",")
    else:
        allowed = ["pull"] if name in public and "pull" in actions.split(",") else []
    return {"type": kind, "name": name, "actions": allowed}


def _user(header: str | None) -> tuple[str, str] | None:
    if header is None or not header.startswith("Basic "):
        return None
    try:
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ("", "")
    return user, password


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
