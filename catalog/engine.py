"""Connections to the catalog's database, and its schema."""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session

from catalog.scope import session_of

_BUSY_TIMEOUT_MS = 30_000
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
}
"""Of libpq: a server whose machine is gone is noticed in 40 s, not in the kernel's two hours."""
_IDLE_MS = 60_000
_MIGRATION_LOCK = 0x6B697462  # any number that other users of the database don't lock


def make_engine(url: str) -> Engine:
    """An engine for a `sqlite:///PATH` or `postgresql://…` URL; connects at first use.

    SQLite files are used in WAL mode and their folder is made; an in-memory database is refused
    (ValueError), since each connection would see its own. A forked child gets fresh connections.
    """
    parsed = _normalised(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, pool_size=10, max_overflow=20)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        engine = create_engine(
            parsed, pool_size=10, max_overflow=10, pool_pre_ping=True, connect_args=_PATIENCE
        )
        event.listen(engine, "connect", _configure_postgresql)
    _forget_connections_after_fork(engine)
    return engine


def _normalised(url: str) -> URL:
    if url.startswith("postgres://"):
        url = "postgresql://" + url.removeprefix("postgres://")
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ValueError("The catalog needs a SQLite file, such as sqlite:///kitbag.db.")
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    elif backend != "postgresql":
        raise ValueError(f"The catalog keeps to SQLite and PostgreSQL; {backend!r} is neither.")
    return parsed


def _forget_connections_after_fork(engine: Engine) -> None:
    reference = weakref.ref(engine)

    def forget() -> None:
        if (alive := reference()) is not None:
            alive.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own BEGIN comes too late for a consistent read and can't be IMMEDIATE.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _configure_postgresql(connection: psycopg.Connection[object], _record: object) -> None:
    """Let the server end a transaction whose client went silent in it, with the locks that it has.

    A client that died is noticed at once; one whose machine or network is gone would hold them for
    as long as the kernel keeps the connection.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_MS}")
        cursor.execute("SET tcp_keepalives_idle = 20")
        cursor.execute("SET tcp_keepalives_interval = 5")
        cursor.execute("SET tcp_keepalives_count = 4")
    connection.commit()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Two processes that open a new file at once would deadlock, so SQLite fails one at once."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one moment on SQLite and committed rows on PostgreSQL; never commits.

    What it returned stays readable after it closed, columns left out of lists excepted. Of an
    engine with a scope (`catalog.scope`) it sees what is inside.
    """
    with session_of(engine, expire_on_commit=False, autoflush=False) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends and undoes everything when it raises.

    On SQLite it takes the write lock at once and waits for it: a transaction that read first and
    writes later would fail with "database is locked" whenever another one wrote in between.
    """
    writer = engine.execution_options(sqlite_begin="IMMEDIATE")
    with (
        session_of(writer, expire_on_commit=False, autoflush=True) as session,
        session.begin(),
    ):
        yield session


def migrate(url: str) -> None:
    """Bring the database to the newest schema; safe when several processes start it at once."""
    # Only this needs Alembic, which takes a while to import.
    from alembic import command
    from alembic.config import Config

    engine = make_engine(url)
    try:
        with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                )
            config = Config()
            config.set_main_option("script_location", "catalog:migrations")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
