"""Writes lines before their requests are answered, all that come at once in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from catalog import audit
from catalog.audit_models import AuditLine
from catalog.engine import writing

log = logging.getLogger("kitbag.audit")
_PATIENCE_S = 5.0


class Journal:
    """The audit log of one replica; for one event loop.

    A line that the catalog doesn't take within 5 s is in the process's log alone, and `lost` is
    told of it: what it tells of has happened, and must be answered.
    """

    def __init__(self, engine: Engine, lost: Callable[[], None]) -> None:
        self._engine = engine
        self._lost = lost
        self._waiting: list[tuple[AuditLine, asyncio.Future[bool]]] = []
        self._writer: asyncio.Task[None] | None = None
        # Of its own: the threads that answer requests may all wait for the catalog.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    async def write(self, line: AuditLine) -> None:
        """Return once the line is in the catalog, or given up."""
        facts = {
            "user": line.user,
            "address": line.address,
            "action": line.action,
            "target": line.target,
            "subject": line.subject,
            "status": line.status,
            "made": line.made,
        }
        log.info("%s by %s: %s", line.action, line.user, line.status, extra={"facts": facts})
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, taken))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="kitbag-audit")
        done, _ = await asyncio.wait([taken], timeout=_PATIENCE_S)
        if not done or not taken.result():
            self._lost()
            log.error("a line of the audit log is only here", extra={"facts": facts})

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            kept = await loop.run_in_executor(self._thread, self._keep, [line for line, _ in batch])
            for _, taken in batch:
                if not taken.done():
                    taken.set_result(kept)

    def _keep(self, lines: Sequence[AuditLine]) -> bool:
        try:
            with writing(self._engine) as session:
                audit.add(session, lines)
        except SQLAlchemyError as error:
            log.error("the audit log can't be written: %s", type(error).__name__)  # noqa: TRY400
            return False
        return True

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer
        self._thread.shutdown(wait=False)
