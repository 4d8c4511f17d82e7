"""Runs every part of an embedded server as a child and ends them together."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from server.data import claimed, hook_key
from server.errors import PartEndedError
from server.hold import gate
from server.parts import Part, parts_of
from server.ports import check_port
from server.settings import Embedded

START_S = 60


def up(embedded: Embedded, *, workers: int, say: Callable[[str], None]) -> None:
    """Run until SIGINT or SIGTERM comes; what a part logs goes to DATA/logs/PART.log.

    Raises server.errors: for a port or a folder in use, a catalog that can't be opened, and a part
    that doesn't start or keeps dying.
    """
    check_port("127.0.0.1", embedded.port)
    environ = os.environ | embedded.variables()
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    with claimed(embedded.data):
        environ.setdefault("KITBAG_HOOK_KEY", hook_key(embedded.data))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        parts = parts_of(embedded, workers)
        try:
            with gate() as held:
                for part in parts:
                    part.start(environ, held)
                # Imported and done while the parts import, which takes them longer.
                from server.catalog import migrate

                migrate(environ["KITBAG_DATABASE_URL"])
                held.open(len(parts))
            _wait_until_ready(embedded, parts, environ, say, lambda: stopping)
            if not stopping:
                say(
                    f"Kitbag is up at {embedded.url}; Ctrl-C ends it. "
                    f"Data and logs: {embedded.data}"
                )
            while not stopping:
                time.sleep(0.2)
                for part in parts:
                    if not part.running:
                        _restart(part, environ, say)
        finally:
            # What the API accepts until it ends is in the catalog, and built after the next start.
            for part in parts:
                if part.needs_catalog:
                    part.ask_to_end()
            for part in reversed(parts):
                part.stop()


def _restart(part: Part, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    status = part.restart(environ)
    say(f"The {part.name} ended with {status}; it was started again.")


def _wait_until_ready(
    embedded: Embedded,
    parts: list[Part],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    stopping: Callable[[], bool],
) -> None:
    """Return when the API says that catalog, queue and a worker answer, or when told to stop.

    A part that a signal ended was killed by somebody else, and is started again as it would be
    later; one that ended by itself said why, and wouldn't fare better a second time.
    """
    deadline = time.monotonic() + START_S
    missing = "the API"
    while not stopping():
        for part in parts:
            if part.running:
                continue
            if not part.was_killed:
                raise PartEndedError(f"The {part.name} did not start{part.last_words()}")
            _restart(part, environ, say)
        if time.monotonic() > deadline:
            raise PartEndedError(
                f"After {START_S} s {missing} does not answer yet; "
                f"look into the logs in {embedded.data}/logs."
            )
        try:
            found = _readiness(embedded.port)
        except (http.client.HTTPException, OSError, ValueError):
            pass
        else:
            if found["ready"]:
                return
            missing = _missing(found)
        time.sleep(0.1)


def _readiness(port: int) -> dict[str, Any]:
    """What the API's /readyz says; the client of the standard library is quick to import."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        found: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    return found


def _missing(found: dict[str, Any]) -> str:
    """The first part that the API misses."""
    names = {"catalog": "the catalog", "queue": "the queue", "workers": "a worker"}
    return next((text for key, text in names.items() if not found[key]["ok"]), "the API")
