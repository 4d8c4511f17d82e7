"""Commands that wait for a person to let them in, ten minutes each."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.errors import LoginNotFoundError
from catalog.ids import new_id
from catalog.models import Login
from catalog.types import utcnow

WAITS = timedelta(minutes=10)
# Without what is read as something else, or as a word.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


def begin(session: Session, device: str) -> tuple[Login, str]:
    """A new one, and the secret with which the command asks for its token."""
    session.execute(delete(Login).where(Login.created_at < utcnow() - WAITS))
    secret = secrets.token_urlsafe(32)
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    login = Login(
        id=new_id(),
        code=f"{letters[:4]}-{letters[4:]}",
        sha256=_hash(secret),
        device=device,
        groups=[],
    )
    session.add(login)
    session.flush()
    return login, secret


def waiting(session: Session, code: str) -> Login:
    """What waits under the code that a person was shown; raises LoginNotFoundError."""
    login = session.scalars(select(Login).where(Login.code == code[:9].upper())).one_or_none()
    if login is None or login.user is not None or login.created_at < utcnow() - WAITS:
        raise LoginNotFoundError(
            f"No command waits with the code {code[:9]!r}; run `kitbag login` once more."
        )
    return login


def let_in(session: Session, code: str, user: str, groups: Collection[str]) -> Login:
    """Let it in as this user; raises LoginNotFoundError."""
    login = waiting(session, code)
    login.user, login.groups = user, sorted(groups)
    return login


def take(session: Session, login_id: str, secret: str) -> Login | None:
    """The login, gone from now on, once somebody let it in; None while nobody did.

    Raises LoginNotFoundError, also for another secret.
    """
    login = session.get(Login, login_id, with_for_update=True)
    if (
        login is None
        or login.created_at < utcnow() - WAITS
        or not hmac.compare_digest(login.sha256, _hash(secret))
    ):
        raise LoginNotFoundError("Nobody let the command in in time; run `kitbag login` once more.")
    if login.user is None:
        return None
    session.delete(login)
    return login


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
