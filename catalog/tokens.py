"""Tokens: made for a person or a namespace, known by the hash of their secret alone."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from catalog.errors import TokenNotFoundError
from catalog.models import Token
from catalog.types import utcnow

PREFIX = "kb_"
_SECRET_BYTES = 32
_USED_EVERY = timedelta(minutes=1)


def new_secret() -> str:
    """The text of a new token: its prefix and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def sha256_of(secret: str) -> str:
    """What is kept of a secret. It is random and long, so that a plain hash can't be undone."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def add(
    session: Session,
    secret: str,
    *,
    name: str,
    role: str,
    namespaces: Sequence[str],
    created_by: str,
    user: str = "",
    groups: Collection[str] = (),
    namespace: str | None = None,
    expires_at: datetime | None = None,
) -> Token:
    """Keep a new token, of a user or of a namespace."""
    token = Token(
        name=name,
        sha256=sha256_of(secret),
        user=user,
        groups=sorted(groups),
        namespace=namespace,
        role=role,
        namespaces=list(namespaces),
        created_by=created_by,
        expires_at=expires_at,
    )
    session.add(token)
    session.flush()
    return token


def find(session: Session, sha256: str) -> Token | None:
    """The token of that hash, if it is good at this moment."""
    now = utcnow()
    return session.scalars(
        select(Token).where(
            Token.sha256 == sha256,
            Token.revoked_at.is_(None),
            or_(Token.expires_at.is_(None), Token.expires_at > now),
        )
    ).one_or_none()


def is_use_worth_noting(token: Token) -> bool:
    """Whether its last use that is noted is so old that this one is to be noted too."""
    return token.last_used_at is None or token.last_used_at < utcnow() - _USED_EVERY


def note_use(session: Session, token_id: int) -> None:
    """Note that it was used just now."""
    session.execute(update(Token).where(Token.id == token_id).values(last_used_at=utcnow()))


def refresh(session: Session, user: str, groups: Collection[str]) -> None:
    """A user's tokens are of the groups that they were seen in last."""
    session.execute(
        update(Token)
        .where(Token.user == user, Token.revoked_at.is_(None))
        .values(groups=sorted(groups))
        .execution_options(synchronize_session=False)
    )


def listing(session: Session) -> Sequence[Token]:
    """All tokens that were not revoked, the newest first."""
    statement = select(Token).where(Token.revoked_at.is_(None)).order_by(Token.id.desc())
    return session.scalars(statement).all()


def get(session: Session, token_id: int) -> Token:
    """One that was not revoked; raises TokenNotFoundError."""
    token = session.get(Token, token_id)
    if token is None or token.revoked_at is not None:
        raise missing(token_id)
    return token


def missing(token_id: int) -> TokenNotFoundError:
    """What whoever asks for a token is told where there is none for them."""
    return TokenNotFoundError(f"There is no token {token_id}; `kitbag token ls` lists yours.")


def revoke(token: Token) -> None:
    """It is worth nothing from now on."""
    token.revoked_at = utcnow()
