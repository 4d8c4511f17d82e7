"""The settings of who is known and what they may do (docs/identity.md)."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.auth.principal import Role

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""What a token may be signed with at all: a public key checks each, so that nobody who can only
check tokens can make one."""
IN_CLUSTER = "in-cluster"


def _listed(value: object) -> object:
    """A list as people write it into a variable: `a, b`, or JSON."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [item for item in re.split(r"[,\s]+", value) if item]
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError("it begins like a JSON list and is none") from error


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class IdentitySettings(BaseSettings):
    """Whose word is taken for who somebody is.

    Without `api_token`, `oidc_issuer`, `accounts` and `user_header` nobody is asked: the server
    must listen on loopback, and requests for other host names or from other web sites are refused.
    """

    model_config = SettingsConfigDict(env_prefix="KITBAG_", extra="ignore", frozen=True)

    api_token: SecretStr | None = Field(None, description="What an operator shows.")
    grants: Path | None = Field(None, description="Who is what where (docs/identity.md).")
    hook_key: SecretStr | None = Field(
        None,
        description="What sessions and the secrets of webhooks are made from; the same for all "
        "replicas.",
    )
    hook_key_before: SecretStr | None = Field(
        None, description="The key until it was changed: hooks signed by it are taken, too."
    )
    public_url: str | None = Field(None, description="Where browsers reach this server.")

    oidc_issuer: str | None = Field(None, description="The provider, as its tokens name it.")
    oidc_client_id: str = Field("", max_length=255, description="This server, as it knows it.")
    oidc_client_secret: SecretStr | None = None
    oidc_audiences: Listed = Field(
        (), description="For whom bearer tokens may be made; the client's id unless given."
    )
    oidc_scopes: Listed = ("openid", "profile", "email")
    oidc_user_claim: str = Field("email", min_length=1, description="Who somebody is: a path a.b.")
    oidc_groups_claims: Listed = Field(
        ("groups", "realm_access.roles"), description="Where groups are: paths a.b."
    )
    oidc_algorithms: Listed = ("RS256", "PS256", "ES256", "EdDSA")
    oidc_leeway_s: float = Field(60.0, ge=0, le=600, description="How far clocks may differ.")
    oidc_ca: Path | None = Field(None, description="The authorities of the provider, in PEM.")
    oidc_timeout_s: float = Field(5.0, gt=0, le=60)

    accounts: str = Field("", description="Whose service accounts are known; a kubeconfig, or "
                          "in-cluster.")  # fmt: skip
    account_audiences: Listed = Field(
        ("kitbag",), description="For whom service accounts' tokens must be made."
    )
    account_role: Role | None = Field(
        Role.USER, description="What an account is in the namespace of its name; none if empty."
    )
    profiles: bool = Field(False, description="Whether Kubeflow's profiles say who is what.")
    identity_fresh_s: float = Field(
        60.0, gt=0, le=60, description="How long the cluster's word is believed."
    )

    user_header: str | None = Field(
        None, description="The header in which a trusted proxy says who asks: kubeflow-userid."
    )
    groups_header: str | None = Field(None, description="That with their groups, comma-separated.")
    trusted_proxies: Listed = Field(
        (), description="Networks of the proxies whose headers are believed: 10.1.0.0/16."
    )

    max_token_days: int = Field(365, ge=1, le=3650, description="How long a token may live.")

    @property
    def asks(self) -> bool:
        """Whether callers are asked who they are."""
        return bool(self.api_token or self.oidc_issuer or self.accounts or self.user_header)

    @property
    def can_sign_in(self) -> bool:
        """Whether browsers are sent to the provider."""
        return bool(self.oidc_issuer and self.oidc_client_id)

    @property
    def audiences(self) -> tuple[str, ...]:
        """For whom the provider's tokens may be made."""
        return self.oidc_audiences or ((self.oidc_client_id,) if self.oidc_client_id else ())

    @field_validator("api_token", "oidc_client_secret")
    @classmethod
    def _not_empty(cls, secret: SecretStr | None) -> SecretStr | None:
        """KITBAG_API_TOKEN= in a file of variables means none."""
        return secret if secret and secret.get_secret_value() else None

    @field_validator("hook_key", "hook_key_before")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is None or not key.get_secret_value():
            return None
        if len(key.get_secret_value()) < 32:
            raise ValueError("give 32 characters or more, such as `openssl rand -hex 32` prints")
        return key

    @field_validator("account_role", "user_header", "groups_header", "public_url", mode="before")
    @classmethod
    def _nothing(cls, value: object) -> object:
        """An empty variable is none."""
        return value or None

    @field_validator("oidc_issuer", mode="before")
    @classmethod
    def _over_tls(cls, url: object) -> object:
        if not url:
            return None
        parts = urlsplit(str(url))
        loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError("give the provider's https://… address, as its tokens have it in iss")
        if parts.query or parts.fragment or parts.username:
            raise ValueError("an issuer has no query, fragment or user")
        return url

    @field_validator("oidc_algorithms")
    @classmethod
    def _with_public_keys(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = sorted(set(names) - set(ALGORITHMS))
        if wrong or not names:
            raise ValueError(f"choose from {', '.join(ALGORITHMS)}")
        return names

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            if ipaddress.ip_network(network).prefixlen == 0:
                raise ValueError(f"{network} is everybody; name the proxies' own addresses")
        return networks

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.user_header and not self.trusted_proxies:
            raise ValueError(
                "KITBAG_USER_HEADER is believed from proxies only; name their networks in "
                "KITBAG_TRUSTED_PROXIES"
            )
        if self.groups_header and not self.user_header:
            raise ValueError("KITBAG_GROUPS_HEADER goes with KITBAG_USER_HEADER; set that too")
        if self.oidc_issuer and not self.audiences:
            raise ValueError(
                "KITBAG_OIDC_ISSUER needs KITBAG_OIDC_CLIENT_ID, or KITBAG_OIDC_AUDIENCES: "
                "a token that was made for others is not for this server"
            )
        if self.can_sign_in and not (self.hook_key or self.api_token):
            raise ValueError(
                "browsers can sign in only where KITBAG_HOOK_KEY is set, from which their "
                "sessions are made"
            )
        if self.accounts and not self.account_audiences:
            raise ValueError("KITBAG_ACCOUNT_AUDIENCES may not be empty; kitbag is the usual one")
        if self.profiles and not self.accounts:
            raise ValueError("KITBAG_PROFILES needs KITBAG_ACCOUNTS, which leads to the cluster")
        return self
