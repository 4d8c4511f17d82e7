"""Debian's Redis server, empty, in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from rig.process import Daemon, accepts, free_port, program, temp_dir


class RedisServer:
    """A Redis server that can be killed and started again; it forgets everything when it stops."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self._daemon = daemon
        self.port = port
        self._databases = itertools.count(1)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def new_database(self) -> str:
        """The URL of a database that nobody else of this run uses: workers of another test, or of
        the whole run, would take its messages."""
        return f"redis://127.0.0.1:{self.port}/{next(self._databases)}"

    def start(self) -> None:
        self._daemon.start()

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    binary = program("redis-server", "redis-server")
    port = free_port()
    with temp_dir("redis") as folder:
        daemon = Daemon(
            [
                binary,
                "--bind",
                "127.0.0.1",
                "--port",
                str(port),
                "--dir",
                str(folder),
                "--save",
                "",
                "--appendonly",
                "no",
                "--databases",
                "1000",
            ],
            log=folder / "log",
            ready=lambda: accepts(port),
        )
        daemon.start()
        try:
            yield RedisServer(daemon, port)
        finally:
            daemon.stop()
