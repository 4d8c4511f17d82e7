"""The forges' REST APIs: where each is, how it takes a token, and one call."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from catalog.hook_models import Forge
from worker.settings import WorkerSettings

_TIMEOUT_S = 10.0
_PATHS = {Forge.GITLAB: "/api/v4", Forge.BITBUCKET: "/2.0", Forge.GITEA: "/api/v1"}
_CLOUD = {"github.com": "https://api.github.com", "bitbucket.org": "https://api.bitbucket.org"}


def api(forge: Forge, root: str) -> str:
    """Where the API begins, behind a forge's address."""
    root = root.rstrip("/")
    if forge is Forge.GITHUB:
        return root if urlsplit(root).hostname == "api.github.com" else f"{root}/api/v3"
    return root + _PATHS[forge]


def root_of(url: str) -> str:
    """The address of the API of the forge that a secret for git is for."""
    host = urlsplit(url).hostname or ""
    if url.startswith("ssh://"):
        url = f"https://{host}"
    return _CLOUD.get(host, url)


def headers(forge: Forge, token: str) -> dict[str, str]:
    """How the forge takes a token."""
    if forge is Forge.GITLAB:
        return {"PRIVATE-TOKEN": token}
    return {"Authorization": f"{'token' if forge is Forge.GITEA else 'Bearer'} {token}"}


def call(
    settings: WorkerSettings,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: Mapping[str, Any] | None = None,
    params: Mapping[str, str] | None = None,
) -> httpx.Response:
    """One request; raises httpx.HTTPError where there is no answer."""
    return httpx.request(
        method,
        url,
        headers=dict(headers),
        json=body,
        params=params,
        timeout=_TIMEOUT_S,
        verify=_trusted(settings),
        follow_redirects=False,  # a token goes where the operator said, and nowhere else
    )


def _trusted(settings: WorkerSettings) -> ssl.SSLContext:
    bundle = settings.ca_bundle
    return ssl.create_default_context(cafile=None if bundle is None else str(bundle))
