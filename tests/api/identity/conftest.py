"""Servers that ask who somebody is, and the provider that tells them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.oidc import CLIENT, SECRET, Provider, oidc_provider

OPERATOR = "the operator's own token"
KEY = "k" * 32

GRANTS = [
    {"group": "hep-readers", "namespaces": ["hep"], "role": "reader"},
    {"group": "hep-users", "namespaces": ["hep"], "role": "user"},
    {"group": "hep-maintainers", "namespaces": ["hep"], "role": "maintainer"},
    {"group": "hep-admins", "namespaces": ["hep"], "role": "admin"},
    {"group": "team-*", "namespaces": ["{group}"], "role": "user"},
    {"group": "platform", "namespaces": ["*"], "role": "admin"},
    {"user": "*", "namespaces": ["shared"], "role": "reader"},
    {"user": "*", "namespaces": ["{user}"], "role": "admin"},
]


@pytest.fixture(scope="session")
def one_provider() -> Iterator[Provider]:
    with oidc_provider() as provider:
        yield provider


@pytest.fixture
def provider(one_provider: Provider) -> Provider:
    """The provider, with a new key that it alone has."""
    one_provider.rotate(forget=True)
    one_provider.more_keys.clear()
    one_provider.claims = {}
    one_provider.away = False
    one_provider.asked.clear()
    return one_provider


@pytest.fixture
def grants(tmp_path: Path) -> Path:
    file = tmp_path / "grants.yaml"
    file.write_text(json.dumps({"grants": GRANTS}))
    return file


@pytest.fixture
def make_guarded(
    make_site: Callable[..., Any], provider: Provider, grants: Path
) -> Callable[..., Any]:
    """Serve an app that knows the provider's people and the operator."""

    def make(**settings: Any) -> Any:
        known: dict[str, Any] = {
            "api_token": OPERATOR,
            "hook_key": KEY,
            "grants": grants,
            "oidc_issuer": provider.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
        }
        site = make_site(**known | settings)
        site.add_base()
        return site

    return make


@pytest.fixture
def guarded(make_guarded: Callable[..., Any]) -> Any:
    return make_guarded()


@pytest.fixture
def bearer(provider: Provider) -> Callable[..., dict[str, str]]:
    """The header of somebody in these groups."""

    def make(*groups: str, email: str = "ana@example.org", **claims: Any) -> dict[str, str]:
        said = {"email": email, "groups": list(groups), **claims}
        return {"Authorization": f"Bearer {provider.token(said)}"}

    return make
