"""A build's sign of life, and its ear for a cancellation."""

from __future__ import annotations

import threading
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from catalog import runs
from catalog.engine import writing
from catalog.errors import LostBuildError
from telemetry.context import carried
from worker.services import Services

_LAST_BEAT_S = 10


class Heartbeat:
    """Says from a thread of its own that the worker lives, and learns whether to stop.

    Calling it says whether the build must stop: somebody cancelled it, or it is no longer ours
    (then `lost` is set too).
    """

    def __init__(self, kit: Services, build_id: str, attempt: int) -> None:
        self._kit, self._build_id, self._attempt = kit, build_id, attempt
        self._stop = threading.Event()
        self._ended = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=carried(self._work), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_LAST_BEAT_S)  # a catalog that hangs is not waited for

    def __call__(self) -> bool:
        return self._stop.is_set()

    def _work(self) -> None:
        while not self._ended.wait(self._kit.settings.heartbeat_s):
            try:
                with writing(self._kit.engine) as session:
                    cancelled = runs.heartbeat(session, self._build_id, attempt=self._attempt)
            except LostBuildError:
                self.lost = not self._ended.is_set()
                self._stop.set()
                return
            except SQLAlchemyError:
                continue  # the catalog is away; whoever would take the build over needs it too
            if cancelled:
                self._stop.set()
