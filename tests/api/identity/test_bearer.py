"""Tokens of the identity provider: whose are taken, and what is wrong with others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rig.oidc import CLIENT, dex_claims, keycloak_claims

import api.auth.provider


def whoami(site, token):
    return site.http.get("/v1/whoami", headers={"Authorization": f"Bearer {token}"})


def refused(site, token, why):
    answer = whoami(site, token)
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert why in answer.json()["detail"]
    assert token not in answer.text


def test_a_token_as_dex_issues_it_is_taken(guarded, provider):
    told = whoami(guarded, provider.token(dex_claims("ana@example.org", "hep-users"))).json()
    assert (told["user"], told["kind"], told["groups"]) == (
        "ana@example.org", "person", ["hep-users"],
    )  # fmt: skip
    assert {"namespaces": "hep", "role": "user"} in told["roles"]


def test_a_token_as_keycloak_issues_it_is_taken(make_guarded, provider):
    site = make_guarded(oidc_user_claim="preferred_username")
    claims = keycloak_claims("ana@example.org", "hep-readers", groups=("team-x",)) | {"typ": None}
    told = whoami(site, provider.token(claims, typ="JWT")).json()
    assert (told["user"], told["groups"]) == ("ana", ["hep-readers", "team-x"])
    assert {"namespaces": "ana", "role": "admin"} in told["roles"]
    assert {"namespaces": "x", "role": "user"} in told["roles"]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "lacks a claim"),
        ({"sub": None}, "lacks a claim"),
        ({"aud": None}, "lacks a claim"),
        ({"nbf": int(time.time()) + 10**6}, "not valid yet"),
        ({"iat": int(time.time()) + 10**6}, "not valid yet"),
        ({"aud": "others"}, "made for others"),
        ({"aud": ["account"]}, "made for others"),
        ({"aud": []}, "lacks a claim"),
        ({"iss": "https://evil.example"}, "doesn't know it"),
        ({"exp": "tomorrow"}, "can't be read"),
        ({"email": None}, "doesn't say who you are"),
        ({"email": ["ana"]}, "doesn't say who you are"),
        ({"email": "kitbag:operator"}, "no user's name"),
        ({"email": "system:serviceaccount:kube-system:default"}, "no user's name"),
        ({"email": "a\nb"}, "no user's name"),
        ({"email_verified": False}, "never verified"),
        ({"email_verified": "no"}, "never verified"),
    ],
)
def test_claims_that_are_not_good_are_refused(guarded, provider, claims, why):
    refused(guarded, provider.token(dex_claims("ana@example.org") | claims), why)


def test_clocks_may_differ_a_little(guarded, provider):
    now = int(time.time())
    late = {"exp": now - 20, "nbf": now + 20, "iat": now + 20}
    assert whoami(guarded, provider.token(dex_claims("ana@e.org") | late)).status_code == 200


def _encoded(data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _claims(provider):
    now = int(time.time())
    return {"iss": provider.issuer, "aud": CLIENT, "exp": now + 300, "iat": now, "sub": "1"} | {
        "email": "ana@example.org"
    }


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", None, 5, ["RS256"]])
def test_a_token_without_a_signature_is_refused(guarded, provider, name):
    header = {"alg": name, "kid": provider.kid, "typ": "JWT"}
    for signature in ("", "x"):
        token = f"{_encoded(header)}.{_encoded(_claims(provider))}.{signature}"
        assert whoami(guarded, token).status_code == 401


def test_the_public_key_as_a_shared_secret_signs_nothing(guarded, provider):
    public = provider.keys[provider.kid].public_key()
    formats = [
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
    ]
    for each in formats:
        for kind, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
            body = f"{_encoded({'alg': kind, 'kid': provider.kid})}.{_encoded(_claims(provider))}"
            mac = hmac.new(public.public_bytes(*each), body.encode(), digest).digest()
            refused(guarded, f"{body}.{_encoded(mac)}", "in a way")


def test_another_key_that_takes_the_name_of_a_good_one_signs_nothing(guarded, provider):
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = jwt.encode(_claims(provider), other, algorithm="RS256", headers={"kid": provider.kid})
    refused(guarded, token, "signature is wrong")


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../../etc/passwd"},
        {"kid": "x' OR '1'='1"},
        {"kid": "http://127.0.0.1:1/keys"},
        {"kid": "\u0000"},
        {"kid": "k" * 300},
        {"jku": "http://127.0.0.1:1/keys", "kid": "theirs"},
        {"x5u": "http://127.0.0.1:1/cert", "kid": "theirs"},
        {"crit": ["exp"]},
        {"typ": "logout+jwt"},
    ],
)
def test_what_a_header_names_is_never_fetched_nor_obeyed(guarded, provider, header):
    whoami(guarded, provider.token(_claims(provider)))
    asked = len(provider.asked)
    assert whoami(guarded, provider.token(_claims(provider), **header)).status_code == 401
    assert len(provider.asked) == asked


def test_a_token_that_brings_its_own_key_is_not_believed(guarded, provider):
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(own.public_key()))
    token = jwt.encode(
        _claims(provider), own, algorithm="RS256", headers={"jwk": jwk, "kid": provider.kid}
    )
    refused(guarded, token, "signature is wrong")


def test_a_huge_token_is_refused_unread(guarded, provider):
    token = provider.token(dex_claims("ana@e.org", *[f"group-{n:04}" for n in range(2500)]))
    assert whoami(guarded, token).status_code in (400, 401, 431)


def test_a_key_of_another_use_or_too_short_or_shared_signs_nothing(guarded, provider):
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    shortly = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key()))
    secret = {"kty": "oct", "k": _encoded(b"s" * 32), "kid": "shared", "alg": "HS256"}
    good = provider.keys[provider.kid]
    for_others = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(good.public_key()))
    provider.more_keys += [
        shortly | {"kid": "short"}, secret, for_others | {"kid": "enc", "use": "enc"}, {"kty": 5},
    ]  # fmt: skip
    tokens = [
        jwt.encode(_claims(provider), short, algorithm="RS256", headers={"kid": "short"}),
        provider.token(_claims(provider), kid="enc"),
    ]
    for token in tokens:
        refused(guarded, token, "key that the identity provider doesn't have")


def test_keys_that_are_rotated_are_fetched_again(guarded, provider, monkeypatch):
    monkeypatch.setattr(api.auth.provider, "PAUSE_S", 0.0)
    old = provider.token(_claims(provider))
    assert whoami(guarded, old).status_code == 200
    provider.rotate()
    assert whoami(guarded, provider.token(_claims(provider))).status_code == 200
    assert whoami(guarded, old).status_code == 200
    assert provider.asked.count("/realm/keys") == 2
    provider.rotate(forget=True)
    assert whoami(guarded, provider.token(_claims(provider))).status_code == 200
    refused(guarded, old, "doesn't have")


def test_names_of_keys_that_nobody_has_do_not_have_the_provider_asked_each_time(guarded, provider):
    for number in range(20):
        token = provider.token(_claims(provider), kid=f"unknown-{number}")
        refused(guarded, token, "doesn't have")
    assert provider.asked.count("/realm/keys") == 1


def test_a_provider_that_is_away_is_no_fault_of_the_caller(guarded, provider, problem):
    provider.away = True
    answer = whoami(guarded, provider.token(_claims(provider)))
    told = problem(answer, 503, "unavailable")
    assert "identity provider" in told["detail"]
    assert answer.headers["retry-after"]
    by_operator = {"Authorization": "Bearer the operator's own token"}
    assert guarded.http.get("/v1/builds", headers=by_operator).status_code == 200


def test_keys_that_are_known_do_while_the_provider_is_away(guarded, provider, monkeypatch):
    token = provider.token(_claims(provider))
    assert whoami(guarded, token).status_code == 200
    provider.away = True
    monkeypatch.setattr(api.auth.provider, "PAUSE_S", 0.0)
    known = guarded.app.state.services.identity.provider._known
    known.fresh_s = 0.0
    assert whoami(guarded, token).status_code == 200


def test_a_provider_that_hangs_is_waited_for_by_all_together(make_guarded, provider):
    site = make_guarded(oidc_timeout_s=0.3)
    provider.answering.clear()
    try:
        for _ in range(3):
            assert whoami(site, provider.token(_claims(provider))).status_code == 503
        deadline = time.monotonic() + 60  # its own thread takes down what it was asked
        while not provider.asked and time.monotonic() < deadline:
            time.sleep(0.05)
        assert provider.asked.count("/realm/.well-known/openid-configuration") == 1
    finally:
        provider.answering.set()


def test_a_provider_that_speaks_for_another_issuer_is_not_believed(make_guarded, provider):
    site = make_guarded(oidc_issuer=provider.issuer + "/")
    token = provider.token(_claims(provider) | {"iss": provider.issuer + "/"})
    assert whoami(site, token).status_code == 503


_PARTS = st.one_of(
    st.binary(max_size=60).map(_encoded),
    st.text(max_size=30),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ).map(_encoded),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from(["RS256", "none", "HS256", "", None, 1, [], {}, "kid", 1e308])
            for name in ("alg", "kid", "typ", "iss", "exp", "aud", "sub", "b64", "crit", "zip")
        },
    ).map(_encoded),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(_PARTS, min_size=1, max_size=5), sign=st.booleans())
def test_whatever_looks_like_a_token_is_refused_in_one_sentence(guarded, provider, parts, sign):
    token = ".".join(parts).encode("latin-1", "replace").decode("latin-1")
    header = _clean(f"Bearer .{token}.")
    answer = guarded.http.get("/v1/whoami", headers={b"Authorization": header})
    assert answer.status_code in (400, 401), answer.text
    if sign:
        text = json.dumps(parts[0])[1:-1]
        good = provider.token({"email": "ana@example.org", "extra": text, "groups": text})
        assert whoami(guarded, good).status_code == 200


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_token_with_any_one_character_changed_is_refused(guarded, provider, data):
    token = provider.token(_claims(provider))
    at = data.draw(st.integers(0, len(token) - 2))
    other = data.draw(st.sampled_from("ABCDabcd0189-_."))
    changed = token[:at] + other + token[at + 1 :]
    assert whoami(guarded, changed).status_code == (200 if changed == token else 401)


def _clean(header):
    return bytes(byte for byte in header.encode("latin-1", "replace") if byte >= 32 and byte != 127)
