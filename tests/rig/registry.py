"""CNCF Distribution registries: open, behind a password, behind a token server, behind TLS."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rig.certificate import self_signed
from rig.process import Daemon, free_port, program, temp_dir
from rig.tokens import TokenServer, token_server

USER = "alice"
PASSWORD = "open: s3same/@1"  # characters that a careless client would split or escape wrongly
# bcrypt, the one hash that the registry accepts, of PASSWORD: neither the standard library nor
# openssl can make one.
_HTPASSWD = f"{USER}:$2b$04$9SNBMKGZEDgpYDjzKBxoKu8y9DNpTllelucSvoR9fyAh1mR88/FGK\n"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a registry accepts at `docker login`."""

    user: str
    password: str


class Registry:
    """A registry on a loopback port that can be stopped and started with its blobs kept.

    `ca` is the file to trust when it speaks TLS, `credentials` are what it asks for, and `tokens`
    is the server that it sends its clients to.
    """

    def __init__(
        self,
        daemon: Daemon,
        port: int,
        root: Path,
        credentials: Credentials | None = None,
        tokens: TokenServer | None = None,
        ca: Path | None = None,
    ) -> None:
        self._daemon = daemon
        self.port = port
        self.root = root
        self.credentials = credentials
        self.tokens = tokens
        self.ca = ca

    @property
    def host(self) -> str:
        """What an image reference starts with: "127.0.0.1:PORT"."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.ca else 'http'}://{self.host}"

    @property
    def log(self) -> str:
        """Every request so far, one a line, as the registry wrote it down."""
        return self._daemon.log

    def start(self) -> None:
        self._daemon.start()

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()

    def blob_path(self, digest: str) -> Path:
        """Where the registry keeps a blob, whether it is there or not."""
        algorithm, _, hexadecimal = digest.partition(":")
        blobs = self.root / "docker/registry/v2/blobs" / algorithm
        return blobs / hexadecimal[:2] / hexadecimal / "data"

    def blobs(self) -> dict[str, int]:
        """Every blob that the registry holds, linked or not: digest -> size in bytes."""
        files = (self.root / "docker/registry/v2/blobs").glob("*/*/*/data")
        return {f"{f.parts[-4]}:{f.parts[-2]}": f.stat().st_size for f in files}

    def docker_config(self, folder: Path) -> Path:
        """Write a `config.json` that holds this registry's credentials; returns its path."""
        auths = {}
        if self.credentials is not None:
            pair = f"{self.credentials.user}:{self.credentials.password}".encode()
            auths[self.host] = {"auth": base64.b64encode(pair).decode()}
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        path.write_text(json.dumps({"auths": auths}))
        return path


class Factory(Protocol):
    """Starts a registry; all of them are stopped at the end of the run."""

    def __call__(
        self,
        auth: str | None = None,
        *,
        tls: bool = False,
        root: Path | None = None,
        token_lifetime_s: int = 300,
        deletes: bool = True,
    ) -> Registry:
        """`auth` is None, "basic" or "token"; `root` is where blobs go, as a disk that is small.

        Without `deletes` it deletes nothing, which is what such a registry does by default.
        """
        ...


@contextmanager
def registry_factory() -> Iterator[Factory]:
    """A function that starts registries."""
    binary = program("docker-registry", "docker-registry")
    with ExitStack() as stack:

        def make(
            auth: str | None = None,
            *,
            tls: bool = False,
            root: Path | None = None,
            token_lifetime_s: int = 300,
            deletes: bool = True,
        ) -> Registry:
            folder = stack.enter_context(temp_dir("registry"))
            port = free_port()
            http: dict[str, object] = {"addr": f"127.0.0.1:{port}"}
            config: dict[str, object] = {"version": "0.1", "http": http}
            config["storage"] = {
                "filesystem": {"rootdirectory": str(root or folder / "data")},
                "delete": {"enabled": deletes},
            }
            certificate = self_signed(folder, "tls") if tls else None
            if certificate is not None:
                http["tls"] = {"certificate": str(certificate.path), "key": str(certificate.key)}
            tokens: TokenServer | None = None
            if auth == "basic":
                (folder / "htpasswd").write_text(_HTPASSWD)
                config["auth"] = {"htpasswd": {"realm": "kitbag", "path": f"{folder}/htpasswd"}}
            elif auth == "token":
                users = {USER: PASSWORD}
                signer = token_server(folder, users, lifetime_s=token_lifetime_s)
                tokens = stack.enter_context(signer)
                config["auth"] = {"token": tokens.registry_config}
            elif auth is not None:
                raise ValueError(f"auth is None, 'basic' or 'token', not {auth!r}")
            # JSON is YAML, and the registry reads it as such.
            (folder / "config.yml").write_text(json.dumps(config))
            made = Registry(
                Daemon(
                    [binary, "serve", str(folder / "config.yml")],
                    log=folder / "log",
                    ready=lambda: _answers(made.url),
                ),
                port,
                root or folder / "data",
                Credentials(USER, PASSWORD) if auth else None,
                tokens,
                certificate.path if certificate else None,
            )
            stack.callback(made.stop)
            made.start()
            return made

        yield make


def _answers(url: str) -> bool:
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        urllib.request.urlopen(f"{url}/v2/", timeout=2, context=anyone).close()
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return True
