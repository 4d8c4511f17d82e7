"""Passwords and tokens open the registries they are for, and show up nowhere else."""

from __future__ import annotations

import base64
import json
import logging
import re
import traceback
from urllib.parse import parse_qs

import pytest
from rig.http import serve
from rig.registry import PASSWORD, USER, Registry

from builder.errors import BuildError, StoreRefusedError
from builder.stores.credentials import Anonymous, DockerConfig, Fixed, Login

pytestmark = pytest.mark.rig
WRONG = Fixed(Login(USER, "not-the-password"))


def test_a_password_of_the_docker_config_opens_a_basic_registry(
    basic_registry: Registry, tmp_path, make_store, make_blob, push_image
):
    config = DockerConfig(basic_registry.docker_config(tmp_path))
    store = make_store(basic_registry.host, credentials=config)
    pushed = push_image(store, "logins/basic", [make_blob(1000)], "v1")
    assert store.manifest("logins/basic", "v1") == pushed


def test_a_token_registry_takes_a_push_and_one_token_serves_it_all(
    token_registry: Registry, tmp_path, make_store, make_blob, push_image
):
    config = DockerConfig(token_registry.docker_config(tmp_path))
    store = make_store(token_registry.host, credentials=config)
    token_registry.tokens.asked.clear()
    layers = [make_blob(1000) for _ in range(10)]
    store.missing("logins/token", [layer.digest for layer in layers])
    pushed = push_image(store, "logins/token", layers, "v1")
    assert store.manifest("logins/token", "v1") == pushed
    assert token_registry.tokens.asked == [(USER, ["repository:logins/token:pull,push"])]


def test_a_mount_asks_for_both_repositories_in_one_token(
    token_registry, tmp_path, make_store, make_blob
):
    config = DockerConfig(token_registry.docker_config(tmp_path))
    store, blob = make_store(token_registry.host, credentials=config), make_blob(1000)
    store.put_blob("logins/from", blob.descriptor, blob.open)
    token_registry.tokens.asked.clear()
    put = store.put_blob("logins/to", blob.descriptor, blob.open, mount_from="logins/from")
    assert put.moved_bytes == 0
    assert token_registry.tokens.asked == [
        (USER, ["repository:logins/from:pull", "repository:logins/to:pull,push"])
    ]


def test_a_token_that_ran_out_is_renewed_in_the_middle_of_a_push(
    token_registry, tmp_path, make_front, make_store, make_blob
):
    front, tokens, blob = make_front(token_registry.port), token_registry.tokens, make_blob(1000)
    challenge = f'Bearer realm="{tokens.realm}",service="{tokens.service}",error="invalid_token"'

    def ran_out(asked):
        if asked.method == "PUT" and front.count("PUT") == 1:
            return front.answer(401, WWW_Authenticate=challenge)
        return None

    front.rule = ran_out
    known = Login(token_registry.credentials.user, token_registry.credentials.password)
    store = make_store(front.host, credentials=Fixed(known))
    tokens.asked.clear()
    put = store.put_blob("logins/renewed", blob.descriptor, blob.open)
    assert put.moved_bytes == 2000
    assert store.missing("logins/renewed", [blob.digest]) == set()
    assert len(tokens.asked) == 2
    sent = [asked.headers["authorization"] for asked in front.asked if asked.method == "PUT"]
    assert sent[0] != sent[1]


def test_anyone_may_pull_what_is_public(make_registry, tmp_path, make_store, make_blob, push_image):
    registry = make_registry("token")
    registry.tokens.public.add("logins/public")
    owner = make_store(registry.host, credentials=DockerConfig(registry.docker_config(tmp_path)))
    layer = make_blob(1000)
    pushed = push_image(owner, "logins/public", [layer], "v1")
    anyone = make_store(registry.host)
    assert anyone.manifest("logins/public", "v1") == pushed
    assert b"".join(anyone.blob("logins/public", layer.digest)) == layer.data
    with pytest.raises(StoreRefusedError, match=r"wants credentials.*docker login"):
        push_image(anyone, "logins/public", [make_blob(10)], "v2")


@pytest.mark.parametrize("kind", ["basic_registry", "token_registry"])
@pytest.mark.parametrize(
    ("credentials", "sentence"),
    [
        (WRONG, "does not accept the credentials for .*docker login"),
        (Anonymous(), "wants credentials.*: run `docker login"),
    ],
)
def test_the_wrong_password_and_none_are_told_apart(
    request, kind, credentials, sentence, make_store, make_blob
):
    registry, blob = request.getfixturevalue(kind), make_blob(10)
    store = make_store(registry.host, credentials=credentials)
    with pytest.raises(StoreRefusedError, match=sentence) as refused:
        store.put_blob("logins/refused", blob.descriptor, blob.open)
    assert registry.host in refused.value.detail
    assert blob.opened == []


@pytest.mark.parametrize("kind", ["basic_registry", "token_registry"])
def test_no_secret_reaches_a_log_or_an_error(
    request, kind, caplog, tmp_path, make_store, make_blob, push_image
):
    caplog.set_level(logging.DEBUG)
    registry = request.getfixturevalue(kind)
    good = DockerConfig(registry.docker_config(tmp_path))
    store = make_store(registry.host, credentials=good)
    push_image(store, "logins/quiet", [make_blob(1000)], "v1")
    seen = [repr(good.login(registry.host)), repr(store), repr(vars(store))]
    with pytest.raises(BuildError) as refused:
        make_store(registry.host, credentials=WRONG).manifest("logins/quiet", "v1")
    seen += traceback.format_exception(refused.value)
    seen += [str(refused.value.extra), caplog.text]
    everything = "\n".join(seen)
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, pair, "not-the-password", "Bearer ey"):
        assert secret not in everything


def test_an_identity_token_is_exchanged_and_never_sent_to_the_registry(
    registry, make_front, make_store, make_blob
):
    forms = []
    with serve(oauth(forms)) as port:
        front = make_front(registry.port)
        bearer = f'Bearer realm="http://127.0.0.1:{port}/token",service="the service"'

        def guarded(asked):
            if asked.headers.get("authorization") == "Bearer access":
                return None
            return front.answer(401, WWW_Authenticate=bearer)

        front.rule = guarded
        store = make_store(front.host, credentials=Fixed(Login(identity_token="the-refresh-token")))
        blob = make_blob(1000)
        store.put_blob("logins/oauth", blob.descriptor, blob.open)
    assert forms == [
        {
            "grant_type": ["refresh_token"],
            "service": ["the service"],
            "client_id": ["kitbag"],
            "scope": ["repository:logins/oauth:pull,push"],
            "refresh_token": ["the-refresh-token"],
        }
    ]
    assert not any("the-refresh-token" in str(asked) for asked in front.asked)


def test_what_a_registry_echoes_of_a_password_is_blotted_out(registry, make_front, make_store):
    front = make_front(registry.port)

    def echo(asked):
        if "authorization" not in asked.headers:
            return front.answer(401, WWW_Authenticate='Basic realm="x"')
        errors = {"errors": [{"code": "DENIED", "message": f"{PASSWORD} is too old"}]}
        return front.answer(403, json.dumps(errors).encode())

    front.rule = echo
    store = make_store(front.host, credentials=Fixed(Login(USER, PASSWORD)))
    with pytest.raises(StoreRefusedError, match=re.escape("(*** is too old)")):
        store.manifest("logins/echo", "v1")


def test_a_token_server_without_https_gets_no_password(registry, make_front, make_store):
    front = make_front(registry.port)
    front.rule = lambda _: front.answer(
        401, WWW_Authenticate='Bearer realm="ftp://example.invalid/token"'
    )
    store = make_store(front.host, credentials=Fixed(Login(USER, PASSWORD)))
    with pytest.raises(StoreRefusedError, match="a token server without https"):
        store.manifest("logins/realm", "v1")


def oauth(forms):
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            forms.append(parse_qs(body))
            data = b'{"access_token": "access", "expires_in": 300}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_request(self, *args):
            pass

    return Handler
