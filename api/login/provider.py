"""Signing in at the identity provider: the authorization code flow with PKCE (RFC 6749, 7636, and
OpenID Connect Core 1.0 section 3.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth import jwt, session
from api.auth.errors import AwayError, CredentialError
from api.auth.identity import Identity
from api.auth.provider import Provider
from api.problems import ProblemError, Slug

COOKIE = "kitbag_login"
_LIFE_S = 600
CALLBACK = "/sign-in/callback"


async def begun(request: Request, identity: Identity, then: str) -> Response:
    """The way to the provider; a cookie remembers what its answer must fit to."""
    provider = _provider(identity)
    settings = provider.settings
    try:
        document = await provider.document()
    except AwayError as error:
        raise _away(error) from error
    if not document.authorization_endpoint or not document.token_endpoint:
        raise ProblemError(
            Slug.UNAVAILABLE, "The identity provider lets nobody sign in; tell the operator."
        )
    kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
    digest = hashlib.sha256(kept["verifier"].encode()).digest()
    query = {
        "response_type": "code",
        "client_id": settings.oidc_client_id,
        "redirect_uri": _callback(request, settings.public_url),
        "scope": " ".join(settings.oidc_scopes),
        "state": kept["state"],
        "nonce": kept["nonce"],
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in document.authorization_endpoint else "?"
    response = RedirectResponse(
        f"{document.authorization_endpoint}{joint}{urlencode(query)}", status_code=303
    )
    response.set_cookie(
        COOKIE,
        identity.seal.sealed(COOKIE, kept | {"then": session.local(then)}, _LIFE_S),
        max_age=_LIFE_S,
        path="/sign-in",
        httponly=True,
        samesite="lax",
        secure=session.is_over_tls(request),
    )
    return response


async def ended(request: Request, identity: Identity, *, code: str, state: str) -> Response:
    """The session of whoever the provider says it is, on the way to where they wanted to go."""
    provider = _provider(identity)
    kept = identity.seal.opened(COOKIE, request.cookies.get(COOKIE, ""))
    if kept is None or not hmac.compare_digest(
        state.encode(errors="replace"), str(kept["state"]).encode()
    ):
        raise ProblemError(
            Slug.FORBIDDEN,
            "This sign-in was not begun in this browser, or too long ago; try again.",
        )
    try:
        person = await _person(request, provider, kept, code)
    except CredentialError as error:
        raise ProblemError(
            Slug.FORBIDDEN, f"The identity provider's token is not good: {error}."
        ) from error
    except AwayError as error:
        raise _away(error) from error
    await identity.seen(person.user, person.groups)
    content = identity.session_of_person(person)
    response = session.begun(request, identity.seal, content, str(kept["then"]))
    response.delete_cookie(COOKIE, path="/sign-in")
    return response


async def _person(
    request: Request, provider: Provider, kept: Mapping[str, Any], code: str
) -> jwt.Person:
    settings = provider.settings
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _callback(request, settings.public_url),
        "code_verifier": str(kept["verifier"]),
        "client_id": settings.oidc_client_id,
    }
    auth = None
    if settings.oidc_client_secret is not None:
        # RFC 6749 section 2.3.1 has both encoded like a form's.
        secret = settings.oidc_client_secret.get_secret_value()
        auth = quote(settings.oidc_client_id, safe=""), quote(secret, safe="")
    document = await provider.document()
    status, answer = await provider.post(document.token_endpoint, form, auth)
    token = answer.get("id_token")
    if status != 200 or not isinstance(token, str):
        raise CredentialError(f"it gave none ({str(answer.get('error') or status)[:100]})")
    person = await jwt.check(token, provider, audiences=(settings.oidc_client_id,))
    nonce, meant = person.claims.get("nonce"), person.claims.get("azp")
    if not isinstance(nonce, str) or not hmac.compare_digest(
        nonce.encode(errors="replace"), str(kept["nonce"]).encode()
    ):
        raise CredentialError("it is not of this sign-in (nonce)")
    if meant is not None and meant != settings.oidc_client_id:
        raise CredentialError("it was made for another client (azp)")
    return person


def _provider(identity: Identity) -> Provider:
    if identity.provider is None or not identity.settings.can_sign_in:
        raise ProblemError(
            Slug.NOT_FOUND, "This server knows no identity provider; sign in with a token."
        )
    return identity.provider


def _callback(request: Request, public_url: str | None) -> str:
    """Where the provider sends the browser back; it knows this address and takes no other."""
    return (public_url or str(request.base_url)).rstrip("/") + CALLBACK


def _away(error: AwayError) -> ProblemError:
    return ProblemError(Slug.UNAVAILABLE, str(error), headers={"Retry-After": "10"})
