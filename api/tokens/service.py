"""Makes, lists and revokes tokens."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from api.auth.principal import EVERYWHERE, Kind, Principal, Role
from api.auth.settings import IdentitySettings
from api.problems import ProblemError, Slug
from api.tokens.schemas import NewToken, TokenList, TokenOut, TokenWithSecret
from catalog import tokens
from catalog.engine import reading, writing
from catalog.models import Token
from catalog.types import utcnow


def add(
    engine: Engine, settings: IdentitySettings, who: Principal, asked: NewToken
) -> TokenWithSecret:
    """A new token; raises ProblemError for one that would outlive or outrank what may be."""
    _require_person(who)
    days = settings.max_token_days if asked.days is None else asked.days
    if days > settings.max_token_days:
        raise ProblemError(
            Slug.INVALID_REQUEST,
            f"days: a token lives {settings.max_token_days} days at most here; ask for fewer.",
        )
    if asked.namespace is not None:
        who.require(Role.ADMIN, asked.namespace)
        if set(asked.namespaces) - {asked.namespace, EVERYWHERE}:
            raise ProblemError(
                Slug.INVALID_REQUEST, "A namespace's token is for that alone; leave namespaces out."
            )
    secret = tokens.new_secret()
    own = asked.namespace is None
    with writing(engine) as session:
        token = tokens.add(
            session,
            secret,
            name=asked.name,
            role=asked.role,
            namespaces=asked.namespaces if own else [str(asked.namespace)],
            created_by=who.user,
            user=who.user if own else "",
            groups=who.groups if own else (),
            namespace=asked.namespace,
            expires_at=utcnow() + timedelta(days=days),
        )
        return TokenWithSecret(**TokenOut.of(token).model_dump(), secret=secret)


def listed(engine: Engine, who: Principal) -> TokenList:
    """The caller's own tokens, and those of the namespaces whose admin they are."""
    with reading(engine) as session:
        found = tokens.listing(session)
        return TokenList(items=[TokenOut.of(token) for token in found if _may(who, token)])


def revoke(engine: Engine, who: Principal, token_id: int) -> TokenOut:
    """The token, worth nothing from now on; raises TokenNotFoundError."""
    with writing(engine) as session:
        token = tokens.get(session, token_id)
        if not _may(who, token):
            raise tokens.missing(token_id)
        tokens.revoke(token)
        session.flush()
        return TokenOut.of(token)


def _may(who: Principal, token: Token) -> bool:
    """Whether somebody sees the token and may revoke it; one that is shown itself may."""
    if who.token is not None:
        return who.token == str(token.id)
    if who.is_operator:
        return True
    if token.namespace is None:
        return token.user == who.user
    own = who.role_in(token.namespace)
    return own is not None and own.covers(Role.ADMIN)


def _require_person(who: Principal) -> None:
    if who.kind is Kind.TOKEN:
        raise ProblemError(
            Slug.FORBIDDEN, "A token makes no other tokens; sign in as yourself for that."
        )
