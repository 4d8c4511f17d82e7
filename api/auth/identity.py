"""Who asks, by whichever credential they bring, and what they are by everybody's word."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from anyio import to_thread
from fastapi import Request
from sqlalchemy import Engine

from api.auth import jwt, session
from api.auth.accounts import Account, Accounts, is_account
from api.auth.errors import CredentialError
from api.auth.grants import Grants
from api.auth.principal import LOCAL, OPERATOR, Grant, Kind, Principal, Role, limited
from api.auth.profiles import Profiles
from api.auth.provider import Provider
from api.auth.proxy import Proxies
from api.auth.session import Seal
from api.auth.settings import IdentitySettings
from api.auth.tokens import KnownToken, TokenBook
from catalog import tokens
from catalog.engine import writing
from catalog.tokens import PREFIX, sha256_of
from kitbag.live.cluster import Cluster
from kitbag.live.connect import connect

_MAX_SESSION_CHARS = 2500


class Identity:
    """All who say who somebody is; made once an app and used from its event loop.

    Raises GrantsError, and kitbag.live's AwayError where the settings lead to no cluster.
    """

    def __init__(self, settings: IdentitySettings, engine: Engine) -> None:
        self.settings = settings
        self.seal = Seal(settings)
        self._engine = engine
        self.tokens = TokenBook(engine)
        self.provider = Provider(settings) if settings.oidc_issuer else None
        self._grants = Grants(settings.grants)
        self._proxies = Proxies(settings)
        self._accounts: Accounts | None = None
        self._profiles: Profiles | None = None
        if settings.accounts:
            cluster = Cluster(connect(settings.accounts, "KITBAG_ACCOUNTS"))
            fresh_s = settings.identity_fresh_s
            self._accounts = Accounts(cluster, settings.account_audiences, fresh_s=fresh_s)
            self._profiles = Profiles(cluster, fresh_s=fresh_s) if settings.profiles else None

    async def close(self) -> None:
        """Close the connections."""
        if self.provider is not None:
            await self.provider.close()

    async def of(self, request: Request, shown: str | None) -> Principal | None:
        """Who asks, `shown` being the credential in the headers; None for whoever shows nothing.

        Raises CredentialError for what is shown and not good, and AwayError where that can't be
        told. A token of this server's own counts before what a proxy says, and that before others,
        which the proxy has looked at.
        """
        if shown is not None and shown.startswith(PREFIX):
            return await self._of_token(sha256_of(shown))
        if shown is not None and self.is_operators(shown):
            return OPERATOR
        proxied = self._proxies.said_by(request)
        if proxied is not None:
            if not session.is_safe(request):
                session.require_own_page(request)
            return await self._of_person(Kind.PROXIED, proxied.user, proxied.groups)
        if shown is not None:
            return await self._of_foreign(shown)
        content = session.of(request, self.seal)
        return None if content is None else await self._of_session(content)

    def is_operators(self, shown: str) -> bool:
        """Whether it is KITBAG_API_TOKEN, told in the same time wherever it differs."""
        token = self.settings.api_token
        if token is None:
            return False
        return secrets.compare_digest(
            shown.encode(errors="replace"), token.get_secret_value().encode()
        )

    async def session_of(self, shown: str) -> Mapping[str, Any] | None:
        """What a session holds of whoever showed this at the form; None where it is no good."""
        if self.is_operators(shown):
            return {"kind": Kind.OPERATOR}
        if shown.startswith(PREFIX):
            sha256 = sha256_of(shown)
            if await self.tokens.find(sha256) is not None:
                return {"kind": Kind.TOKEN, "sha256": sha256}
        return None

    def session_of_person(self, person: jwt.Person) -> Mapping[str, Any]:
        """What a session holds of a person: of their groups as many as a cookie has room for,
        those that a grant names first."""
        named = sorted(person.groups, key=lambda group: (not self._grants.names(group), group))
        kept: list[str] = []
        for group in named:
            if sum(map(len, kept)) + len(group) + 3 * len(kept) > _MAX_SESSION_CHARS:
                break
            kept.append(group)
        return {"kind": Kind.PERSON, "user": person.user, "groups": kept}

    async def seen(self, user: str, groups: frozenset[str]) -> None:
        """Remember the groups that somebody signed in with: what their tokens may follows them."""
        await to_thread.run_sync(self._refresh, user, groups)
        self.tokens.forget()

    def _refresh(self, user: str, groups: frozenset[str]) -> None:
        with writing(self._engine) as catalog:
            tokens.refresh(catalog, user, groups)

    async def rights(
        self, user: str, groups: Iterable[str], account: Account | None = None
    ) -> tuple[Grant, ...]:
        """What somebody is now, by the operator's grants and Kubeflow's profiles."""
        if user in (OPERATOR.user, LOCAL.user):
            return OPERATOR.grants
        name = None if account is None else f"{account.namespace}:{account.name}"
        found = self._grants.of(user, groups, name)
        if self._profiles is not None:
            found += await to_thread.run_sync(self._profiles.of, user, list(groups), name)
        elif account is not None and self.settings.account_role is not None:
            found += (Grant(account.namespace, self.settings.account_role),)
        return tuple(dict.fromkeys(found))

    async def _of_foreign(self, shown: str) -> Principal:
        if self.provider is not None and jwt.issuer_of(shown) == self.settings.oidc_issuer:
            person = await jwt.check(shown, self.provider)
            return await self._of_person(Kind.PERSON, person.user, person.groups)
        if self._accounts is not None and is_account(shown):
            account = await to_thread.run_sync(self._accounts.who, shown)
            grants = await self.rights(account.user, account.groups, account)
            return Principal(account.user, Kind.ACCOUNT, grants, account.groups)
        raise CredentialError("this server doesn't know it")

    async def _of_person(self, kind: Kind, user: str, groups: frozenset[str]) -> Principal:
        return Principal(user, kind, await self.rights(user, groups), groups)

    async def _of_token(self, sha256: str) -> Principal:
        token = await self.tokens.find(sha256)
        if token is None:
            raise CredentialError("it is unknown, has expired or was revoked")
        return await self._of_known_token(token)

    async def _of_known_token(self, token: KnownToken) -> Principal:
        role = Role(token.role)
        if token.namespace is not None:
            user = f"kitbag:token:{token.namespace}/{token.name}"
            grants: tuple[Grant, ...] = (Grant(token.namespace, role),)
        else:
            user = token.user
            account = _account_of(user, token.groups)
            rights = await self.rights(user, token.groups, account)
            grants = limited(rights, role, token.namespaces)
        return Principal(user, Kind.TOKEN, grants, token.groups, str(token.id))

    async def _of_session(self, content: Mapping[str, Any]) -> Principal | None:
        kind = content.get("kind")
        if kind == Kind.OPERATOR and self.settings.api_token is not None:
            return OPERATOR
        if kind == Kind.TOKEN:
            token = await self.tokens.find(str(content["sha256"]))
            return None if token is None else await self._of_known_token(token)
        if kind == Kind.PERSON:
            groups = frozenset(map(str, content["groups"]))
            return await self._of_person(Kind.PERSON, str(content["user"]), groups)
        return None


def _account_of(user: str, groups: frozenset[str]) -> Account | None:
    """The service account whose token it is, if it is one's."""
    parts = user.split(":")
    if parts[:2] != ["system", "serviceaccount"] or len(parts) != 4:
        return None
    return Account(parts[2], parts[3], groups)
