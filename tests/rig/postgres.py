"""Debian's PostgreSQL in a temporary cluster, with a database for whoever asks."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from rig.process import Daemon, children, free_port, program, temp_dir

_ROLE = "kitbag"


class Postgres:
    """A PostgreSQL server on loopback that trusts everyone."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self._daemon = daemon
        self._numbers = itertools.count(1)
        self.port = port

    def create_database(self) -> str:
        """Make an empty database; returns its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{_ROLE}@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database and whoever is still connected to it."""
        name = url.rpartition("/")[2]
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def start(self) -> None:
        self._daemon.start()

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        """End the server and all of its processes as the kernel's out-of-memory killer might."""
        pid = self._daemon.pid
        below = children(pid) if pid is not None else []
        self._daemon.kill()
        for each in below:  # they would hold on to its memory, without which it can't start
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def _run(self, statement: sql.Composed) -> None:
        with _connect(self.port, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres_server(*, durable: bool = False) -> Iterator[Postgres]:
    """Start a cluster; one that is `durable` keeps what it committed when it is killed."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    initdb = program("initdb", "postgresql", also=folders)
    server = program("postgres", "postgresql", also=folders)
    user = "postgres" if os.geteuid() == 0 else None  # initdb refuses root
    port = free_port()
    with temp_dir("postgres") as folder:
        if user:
            shutil.chown(folder, user, user)
        data = folder / "data"
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        subprocess.run(
            [
                *(become if user else []),
                initdb,
                "-D",
                str(data),
                "-U",
                _ROLE,
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
        )
        daemon = Daemon(
            [
                *(server, "-D", str(data), "-p", str(port), "-k", str(folder)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"),
                # Nobody's data: what a power cut would lose may be lost.
                *("-c", "fsync=off", "-c", "full_page_writes=off"),
                *("-c", f"synchronous_commit={'on' if durable else 'off'}"),
            ],
            log=folder / "log",
            ready=lambda: _answers(port),
            user=user,
            stop_signal=signal.SIGINT,  # "fast": clients are cut off, not waited for
        )
        daemon.start()
        try:
            yield Postgres(daemon, port)
        finally:
            daemon.stop()


def _answers(port: int) -> bool:
    try:
        _connect(port).close()
    except psycopg.OperationalError:
        return False
    return True


def _connect(port: int, *, autocommit: bool = False) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1", port=port, user=_ROLE, dbname="postgres", autocommit=autocommit
    )
