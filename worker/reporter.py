"""Turns what a build reports into the catalog's events, without making the build wait."""

from __future__ import annotations

import logging
import queue
import threading
import time
from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from builder.model import Step
from catalog import events
from catalog.build_models import EventKind
from catalog.engine import writing
from telemetry.context import carried
from worker.patience import away

log = logging.getLogger(__name__)

_GATHER_S = 0.1
_PROGRESS_MAX = 5
"""Of the progress steps gathered in one tick, the last few are told."""

_KEPT_MAX = 1000
"""Steps that wait for a catalog that is away; older ones are dropped."""

_AGAIN_S = 0.5
_LAST_S = 10.0


class Reporter:
    """Writes steps in batches from a thread of its own; `flush` waits until all are written.

    Use as a context manager: leaving it flushes and ends the thread. Steps wait for a catalog that
    is away, in order; at the end of the build for 10 s.
    """

    def __init__(self, engine: Engine, build_id: str) -> None:
        self._engine = engine
        self._build_id = build_id
        self._steps: queue.SimpleQueue[Step | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=carried(self._work), name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._steps.put(None)
        self._thread.join()

    def __call__(self, step: Step) -> None:
        """Take a step; from any thread."""
        self._steps.put(step)

    def flush(self) -> None:
        """Wait until every step taken so far is in the catalog, or it is seen to be away."""
        written = threading.Event()
        self._steps.put(written)
        written.wait(30)

    def _work(self) -> None:
        kept: list[Step] = []
        while True:
            batch, flushed, ended = self._gather(_AGAIN_S if kept else None)
            kept = self._write(_thinned([*kept, *batch]))[-_KEPT_MAX:]
            for event in flushed:
                event.set()
            if ended:
                self._write_last(kept)
                return

    def _gather(self, wait_s: float | None) -> tuple[list[Step], list[threading.Event], bool]:
        """Steps of one tick, who waits for them, and whether they are the last."""
        batch: list[Step] = []
        flushed: list[threading.Event] = []
        try:
            item = self._steps.get(timeout=wait_s)
            while item is not None:
                if isinstance(item, Step):
                    batch.append(item)
                else:
                    flushed.append(item)
                # Whoever flushes is waiting: take only what is there already.
                item = self._steps.get(timeout=0 if flushed else _GATHER_S)
        except queue.Empty:
            return batch, flushed, False
        return batch, flushed, True

    def _write(self, batch: list[Step]) -> list[Step]:
        """Write the steps in one transaction; those that have to wait, all or none."""
        if not batch:
            return []
        try:
            with writing(self._engine) as session:
                for step in batch:
                    events.append(
                        session,
                        self._build_id,
                        EventKind(step.kind),
                        step.message,
                        phase=step.phase,
                        data=step.data,
                    )
        except SQLAlchemyError as error:
            if away(error):
                return batch
            log.exception("%s steps of build %s can't be told", len(batch), self._build_id)
        except Exception:  # a step that can't be told must not stop those after it
            log.exception("%s steps of build %s can't be told", len(batch), self._build_id)
        return []

    def _write_last(self, kept: list[Step]) -> None:
        ends = time.monotonic() + _LAST_S
        while kept and time.monotonic() < ends:
            time.sleep(_AGAIN_S)
            kept = self._write(kept)


def _thinned(steps: list[Step]) -> list[Step]:
    """The steps without all but the last few that only tell progress."""
    progress = [step for step in steps if step.kind == EventKind.PROGRESS]
    dropped = {id(step) for step in progress[:-_PROGRESS_MAX]}
    return [step for step in steps if id(step) not in dropped]
