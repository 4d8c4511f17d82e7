"""Who we are at a registry: logins of a Docker config file, of its helpers, or none.

Source: the Docker CLI's config file reference (`auths`, `credsStore`, `credHelpers`) and the
docker-credential-helpers protocol.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from builder.errors import StoreRefusedError
from builder.stores.names import credential_hosts, is_hub
from builder.stores.parse import parse_object

MAX_CONFIG_BYTES = 1 << 20
HELPER_TIMEOUT_S = 30

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN_USER = "<token>"  # noqa: S105  # how a helper says "the secret is an identity token"


@dataclass(frozen=True, slots=True)
class Login:
    """One way to be known at a registry; secrets never show in its repr.

    `identity_token` is exchanged for bearer tokens (OAuth2 refresh), `registry_token` is one.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, the base64 form of a basic login included."""
        pair = self.basic if self.password else ""
        return tuple(
            s for s in (self.password, self.identity_token, self.registry_token, pair) if s
        )

    @property
    def basic(self) -> str:
        """The base64 of `username:password`, as an Authorization header wants it."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Credentials(Protocol):
    """Where logins come from; asked again when a registry refuses, so that they may rotate."""

    def login(self, host: str, path: str = "") -> Login | None:
        """The login for a registry and a path in it, or None to be anonymous."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """No login anywhere."""

    def login(self, host: str, path: str = "") -> Login | None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same login at every registry it is used with."""

    known: Login

    def login(self, host: str, path: str = "") -> Login | None:  # noqa: ARG002
        return self.known


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """The logins of a Docker config file, read anew each time since mounted secrets rotate.

    Without a path: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`, which need not
    exist; a path that is given must. Keys may name a host, or a host and a path (`HOST/team`): the
    longest that fits wins. StoreRefusedError if the file can't be read or a helper fails.
    """

    path: Path | None = None

    def login(self, host: str, path: str = "") -> Login | None:
        config = self._read()
        if helper := self._helper(config, host):
            login = _ask_helper(helper, self._helper_key(host))
            if login is not None:
                return login
        auths = _mapping(config.get("auths"))
        known = {_normal(key): _mapping(value) for key, value in auths.items()}
        for key in _keys(host, path):
            if key in known:
                login = self._from_entry(key, known[key])
                if login is not None:
                    return login
        return None

    def _file(self) -> Path:
        if self.path is not None:
            return self.path
        if folder := os.environ.get("DOCKER_CONFIG"):
            return Path(folder) / "config.json"
        try:
            return Path.home() / ".docker" / "config.json"
        except RuntimeError:
            # A container that runs as a user without a name has no home either.
            return Path("/nonexistent")

    def _read(self) -> Mapping[str, Any]:
        file = self._file()
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_CONFIG_BYTES + 1)
            if len(data) > MAX_CONFIG_BYTES:
                raise StoreRefusedError(f"The Docker config {file} is over 1 MiB: make it smaller")
            return parse_object(data)
        except FileNotFoundError:
            if self.path is None:
                return {}
            raise StoreRefusedError(
                f"The Docker config {file} does not exist: create it or correct its path"
            ) from None
        except OSError as error:
            raise StoreRefusedError(
                f"The Docker config {file} can't be read ({error.strerror}): allow it or move it"
            ) from None
        except ValueError:
            # Not chained: a decoder's error quotes the text, and the text holds passwords.
            raise StoreRefusedError(
                f"The Docker config {file} is not valid JSON: repair it or log in again"
            ) from None

    @staticmethod
    def _helper(config: Mapping[str, Any], host: str) -> str | None:
        helpers = {_normal(k): v for k, v in _mapping(config.get("credHelpers")).items()}
        for name in credential_hosts(host):
            if name in helpers:
                return str(helpers[name])
        store = config.get("credsStore")
        return str(store) if store else None

    @staticmethod
    def _helper_key(host: str) -> str:
        # The one registry that Docker saves under a URL, and with the path of its old API.
        return f"https://{credential_hosts(host)[0]}/v1/" if is_hub(host) else host

    def _from_entry(self, key: str, entry: Mapping[str, Any]) -> Login | None:
        user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        if packed := entry.get("auth"):
            try:
                pair = base64.b64decode(str(packed), validate=True).decode().rstrip("\x00")
            except (binascii.Error, UnicodeDecodeError):
                raise StoreRefusedError(
                    f"The entry of {key} in the Docker config {self._file()} is damaged: "
                    f"run `docker login {key}` again"
                ) from None
            user, _, password = pair.partition(":")
        identity = str(entry.get("identitytoken") or "")
        registry = str(entry.get("registrytoken") or "")
        if not (user or identity or registry):
            return None
        return Login(user, password, identity, registry)


def _ask_helper(name: str, host: str) -> Login | None:
    """What docker-credential-NAME knows of the host, or None if it knows nothing.

    What a helper prints is never quoted: it may be the secret.
    """
    if not _HELPER.fullmatch(name):
        raise StoreRefusedError(f"{name[:80]!r} in the Docker config is not a credential helper")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=host.encode(),
            capture_output=True,
            timeout=HELPER_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise StoreRefusedError(
            f"The Docker config names {program}, which is not on PATH: install it, or write the "
            f"login of {host} into `auths`"
        ) from None
    except (OSError, subprocess.TimeoutExpired):
        raise StoreRefusedError(f"{program} did not answer for {host}: run it by hand") from None
    if done.returncode != 0:
        if b"not found" in done.stdout[:4096]:
            return None
        raise StoreRefusedError(
            f"{program} failed for {host} (exit {done.returncode}): run it by hand to see why"
        )
    try:
        answer = parse_object(done.stdout[:MAX_CONFIG_BYTES])
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError):
        raise StoreRefusedError(f"{program} gave no login for {host}: run it by hand") from None
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(user, secret)


def _keys(host: str, path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return [
        "/".join([name, *parts[:depth]])
        for depth in range(len(parts), -1, -1)
        for name in credential_hosts(host)
    ]


def _normal(key: str) -> str:
    """A config key as host or host/path: without scheme, API version and trailing slash."""
    bare = re.sub(r"^https?://", "", key).rstrip("/")
    return re.sub(r"/v[12]$", "", bare)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
