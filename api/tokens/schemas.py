"""Tokens and callers as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.auth.principal import Kind, Principal, Role
from api.text import Text
from catalog.models import Token

Pattern = Annotated[
    str,
    StringConstraints(max_length=63, min_length=1, pattern=r"^([a-z0-9][-a-z0-9]*)?\*?$"),
]
Namespace = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
]


class RoleIn(BaseModel):
    """A role in the namespaces that a pattern means: a name, PREFIX*, or * for all."""

    namespaces: str
    role: Role


class WhoAmI(BaseModel):
    """Who the server takes the caller for."""

    user: str
    kind: Kind = Field(description="How it knows.")
    groups: list[str]
    roles: list[RoleIn] = Field(description="What they are where; nothing elsewhere.")
    token: int | None = Field(description="The id of the token that they came with.")

    @classmethod
    def of(cls, who: Principal) -> Self:
        """The caller as the API shows them."""
        return cls(
            user=who.user,
            kind=who.kind,
            groups=sorted(who.groups),
            roles=[RoleIn(namespaces=each.namespaces, role=each.role) for each in who.grants],
            token=None if who.token is None else int(who.token),
        )


class NewToken(BaseModel):
    """A token to make: of the caller, or of a namespace, whose admins decide on it."""

    model_config = ConfigDict(extra="forbid")

    name: Text = Field(
        min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][-A-Za-z0-9_. ]*$", examples=["ci"]
    )
    role: Role = Field(Role.USER, description="The most that it is good for.")
    namespaces: list[Pattern] = Field(
        default_factory=lambda: ["*"], min_length=1, max_length=100, description="And where."
    )
    namespace: Namespace | None = Field(
        None, description="Whose it is, in place of the caller's: it stays when people go."
    )
    days: int | None = Field(90, ge=1, le=3650, description="How long; null for as long as may be.")


class TokenOut(BaseModel):
    """A token without its secret."""

    id: int
    name: str
    user: str | None = Field(description="Whose it is; null for a namespace's.")
    namespace: str | None
    role: Role
    namespaces: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: Token) -> Self:
        """The token as the API shows it."""
        return cls(
            id=token.id,
            name=token.name,
            user=token.user or None,
            namespace=token.namespace,
            role=Role(token.role),
            namespaces=list(token.namespaces),
            created_by=token.created_by,
            created_at=token.created_at,
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )


class TokenWithSecret(TokenOut):
    """A new token; its secret is shown this once."""

    secret: str


class TokenList(BaseModel):
    """The tokens that the caller may revoke, the newest first."""

    items: list[TokenOut]
