"""Lets commands in: what `kitbag login` waits for, and a person decides in a browser."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine

from api.auth.principal import EVERYWHERE, Kind, Principal, Role
from api.auth.settings import IdentitySettings
from api.login.schemas import LetIn, LoginOut
from api.problems import ProblemError, Slug
from catalog import logins, tokens
from catalog.engine import reading, writing
from catalog.types import utcnow

_DAYS = 90
_INTERVAL_S = 1.0


def begin(engine: Engine, device: str) -> LoginOut:
    """A command that waits from now on."""
    with writing(engine) as session:
        login, secret = logins.begin(session, device)
        return LoginOut(
            id=login.id,
            code=login.code,
            path=f"/sign-in/command?code={login.code}",
            secret=secret,
            expires_at=login.created_at + logins.WAITS,
            interval_s=_INTERVAL_S,
        )


def waiting(engine: Engine, code: str) -> tuple[str, str]:
    """The code and the device of what waits; raises LoginNotFoundError."""
    with reading(engine) as session:
        login = logins.waiting(session, code)
        return login.code, login.device


def let_in(engine: Engine, who: Principal, code: str) -> None:
    """Let the command in as whoever asks; raises LoginNotFoundError, and ProblemError for those who
    are a token themselves."""
    if who.kind is Kind.TOKEN:
        raise ProblemError(
            Slug.FORBIDDEN, "A token lets nothing else in; sign in as yourself for that."
        )
    with writing(engine) as session:
        logins.let_in(session, code, who.user, who.groups)


def poll(engine: Engine, settings: IdentitySettings, login_id: str, secret: str) -> LetIn:
    """The new token of a command that was let in; raises LoginNotFoundError."""
    with writing(engine) as session:
        login = logins.take(session, login_id, secret)
        if login is None:
            return LetIn(user=None, token=None, expires_at=None)
        text = tokens.new_secret()
        user = str(login.user)
        token = tokens.add(
            session,
            text,
            name=f"kitbag login on {login.device}",
            role=Role.ADMIN,
            namespaces=[EVERYWHERE],
            created_by=user,
            user=user,
            groups=login.groups,
            expires_at=utcnow() + timedelta(days=min(_DAYS, settings.max_token_days)),
        )
        return LetIn(user=user, token=text, expires_at=token.expires_at)
