"""Whether this worker's container engine answers, asked beside the event loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from builder.engines.protocol import Engine
from builder.errors import BuildError

log = logging.getLogger(__name__)


class Pulse:
    """Asks an engine now and then in a thread of its own; an engine that hangs holds nobody up."""

    def __init__(self, open_engine: Callable[[], Engine], every_s: float) -> None:
        self._open_engine = open_engine
        self._every_s = every_s
        self._stop = threading.Event()
        self.problem: str | None = None
        """What is wrong with it; None until it was asked, empty while it answers."""

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._ask, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask(self) -> None:
        engine: Engine | None = None
        while not self._stop.is_set():
            try:
                engine = engine or self._open_engine()
                _ = engine.name
                found = ""
            except BuildError as error:
                found = error.detail
            except Exception:  # whatever it is, the engine is no use
                log.exception("the container engine could not be asked")
                found = "The container engine gave an answer that can't be read."
            if found and found != self.problem:
                log.warning("%s", found)
            self.problem = found
            self._stop.wait(self._every_s)
