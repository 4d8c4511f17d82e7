"""Logins are found where Docker keeps them, and a broken config says so without showing it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from builder.errors import StoreRefusedError
from builder.stores.credentials import DockerConfig, Login


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def write(tmp_path: Path):
    def write(config: object) -> DockerConfig:
        path = tmp_path / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return DockerConfig(path)

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch):
    """Puts a credential helper, a shell script, on PATH."""

    def install(name: str, script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return program

    return install


@pytest.mark.parametrize(
    "key",
    ["r.example:5000", "https://r.example:5000", "http://r.example:5000/v2/", "r.example:5000/"],
)
def test_a_host_is_found_however_docker_wrote_it(write, key):
    config = write({"auths": {key: auth("alice", "a:b@c")}})
    assert config.login("r.example:5000") == Login("alice", "a:b@c")
    assert config.login("r.example") is None


def test_the_longest_path_that_fits_wins(write):
    config = write({"auths": {"r.example": auth("any", "x"), "r.example/team": auth("team", "y")}})
    assert config.login("r.example", "team/project").username == "team"
    assert config.login("r.example", "teammate").username == "any"
    assert config.login("r.example").username == "any"


def test_tokens_and_plain_fields_are_logins_too(write):
    config = write(
        {
            "auths": {
                "a.example": {"identitytoken": "one"},
                "b.example": {"registrytoken": "two"},
                "c.example": {"username": "carol", "password": "three"},
                "d.example": {},
            }
        }
    )
    assert config.login("a.example") == Login(identity_token="one")
    assert config.login("b.example") == Login(registry_token="two")
    assert config.login("c.example") == Login("carol", "three")
    assert config.login("d.example") is None


def test_the_default_place_follows_docker_and_need_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert DockerConfig().login("r.example") is None
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.example": auth("a", "b")}}))
    assert DockerConfig().login("r.example") == Login("a", "b")
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "config.json").rename(tmp_path / "home/.docker/config.json")
    assert DockerConfig().login("r.example") == Login("a", "b")


def test_a_login_that_rotates_is_read_anew(write):
    config = write({"auths": {"r.example": auth("a", "old")}})
    assert config.login("r.example").password == "old"
    write({"auths": {"r.example": auth("a", "new")}})
    assert config.login("r.example").password == "new"


def test_a_helper_is_asked_for_its_hosts_only(write, helper, tmp_path):
    helper("vault", f'cat > {tmp_path}/asked; echo \'{{"Username": "bob", "Secret": "hidden"}}\'')
    config = write({"credHelpers": {"r.example": "vault"}, "auths": {"s.example": auth("a", "b")}})
    assert config.login("r.example") == Login("bob", "hidden")
    assert (tmp_path / "asked").read_text() == "r.example"
    assert config.login("s.example") == Login("a", "b")


def test_the_store_of_all_logins_may_give_an_identity_token_or_nothing(write, helper):
    config = write({"credsStore": "keychain", "auths": {"r.example": {}}})
    helper("keychain", 'echo \'{"Username": "<token>", "Secret": "refresh"}\'')
    assert config.login("r.example") == Login(identity_token="refresh")
    helper("keychain", "echo credentials not found in native keychain; exit 1")
    assert config.login("r.example") is None
    both = write({"credsStore": "keychain", "auths": {"r.example": auth("a", "b")}})
    assert both.login("r.example") == Login("a", "b")


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo the-secret; echo the-secret >&2; exit 3", r"failed for r\.example \(exit 3\)"),
        ("echo the-secret", "gave no login"),
    ],
)
def test_what_a_broken_helper_prints_is_not_shown(write, helper, script, sentence):
    helper("broken", script)
    with pytest.raises(StoreRefusedError, match=sentence) as refused:
        write({"credHelpers": {"r.example": "broken"}}).login("r.example")
    assert "the-secret" not in repr(refused.value)


@pytest.mark.parametrize("name", ["absent", "../../bin/sh", "-x"])
def test_a_helper_that_is_not_one_is_said_so(write, name):
    with pytest.raises(StoreRefusedError, match=r"which is not on PATH|is not a credential helper"):
        write({"credHelpers": {"r.example": name}}).login("r.example")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ('{"auths": {"r.example": "s3cret"', "is not valid JSON"),
        ({"auths": {"r.example": {"auth": "s3cret!"}}}, "is damaged: run `docker login"),
        ("[" * 2_000_000, "is over 1 MiB"),
    ],
)
def test_a_broken_config_says_what_to_do_and_shows_nothing(write, config, sentence):
    with pytest.raises(StoreRefusedError, match=sentence) as refused:
        write(config).login("r.example")
    assert "s3cret" not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_a_config_that_was_named_must_be_there(tmp_path):
    with pytest.raises(StoreRefusedError, match="does not exist: create it"):
        DockerConfig(tmp_path / "none.json").login("r.example")


def test_a_login_shows_no_secret():
    login = Login("alice", "pass", "identity", "registry")
    assert repr(login) == "Login(username='alice')"
