"""A server's connection to a cluster: its own service account, or a kubeconfig file.

The requests are `kitbag.live.cluster`'s. A kubeconfig with a plugin that logs in is refused: a
server has nobody to ask, and a token or a certificate does.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .errors import AwayError

IN_CLUSTER = "in-cluster"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S = 20.0


class _TokenFile(httpx.Auth):
    """A token that somebody else renews in its file (the kubelet does every hour)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        yield request


def connect(where: str, setting: str = "KITBAG_CLUSTER") -> httpx.Client:
    """A client of the API server of `in-cluster` or of a kubeconfig's current context.

    Raises AwayError with what is wrong with it, which the operator wrote into `setting`.
    """
    try:
        return _in_cluster() if where == IN_CLUSTER else _of_file(Path(where))
    except (OSError, KeyError, TypeError, ValueError, YAMLError, ssl.SSLError) as error:
        raise AwayError(
            f"{setting}={where} leads to no cluster ({type(error).__name__}: {error}): its"
            " operator corrects it, see docs/rollout.md"
        ) from error


def _in_cluster() -> httpx.Client:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    shown = f"[{host}]" if ":" in host else host
    return _client(
        f"https://{shown}:{port}",
        ssl.create_default_context(cafile=_ACCOUNT / "ca.crt"),
        _TokenFile(_ACCOUNT / "token"),
    )


def _of_file(path: Path) -> httpx.Client:
    config = YAML(typ="safe", pure=True).load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"]).get("user") or {}
    if "exec" in user or "auth-provider" in user:
        raise ValueError("it logs in with a plugin; give it a token or a certificate")
    trust = _ca(cluster, path.parent)
    _certify(trust, user, path.parent)
    auth: httpx.Auth | None = None
    headers = {}
    if "tokenFile" in user:
        auth = _TokenFile(path.parent / user["tokenFile"])
    elif "token" in user:
        headers["Authorization"] = f"Bearer {user['token']}"
    return _client(str(cluster["server"]), trust, auth, headers)


def _client(
    url: str,
    trust: ssl.SSLContext,
    auth: httpx.Auth | None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Client:
    return httpx.Client(
        base_url=url, verify=trust, auth=auth, headers=headers, timeout=_TIMEOUT_S, trust_env=False
    )


def _named(items: list[Any], name: str) -> dict[str, Any]:
    for item in items:
        if item["name"] == name:
            found: dict[str, Any] = item
            return found
    raise ValueError(f"it names {name!r}, and doesn't say what that is")


def _ca(cluster: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("it doesn't check the server's certificate; give it the authority's")
    if "certificate-authority-data" in cluster:
        text = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return ssl.create_default_context(cadata=text)
    file = cluster.get("certificate-authority")
    return ssl.create_default_context(cafile=folder / file if file else None)


def _certify(trust: ssl.SSLContext, user: Mapping[str, Any], folder: Path) -> None:
    """Show the user's certificate; Python only reads it from files."""
    if "client-certificate" in user:
        trust.load_cert_chain(folder / user["client-certificate"], folder / user["client-key"])
    elif "client-certificate-data" in user:
        with tempfile.TemporaryDirectory(prefix="kitbag-") as place:
            for name in ("client-certificate", "client-key"):
                Path(place, name).write_bytes(base64.b64decode(user[f"{name}-data"]))
            trust.load_cert_chain(Path(place, "client-certificate"), Path(place, "client-key"))
