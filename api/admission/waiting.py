"""Waiting for builds, so that an object applied right after a push gets what was pushed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from anyio import CapacityLimiter, sleep, to_thread
from sqlalchemy import Engine

from api.admission.schemas import Wait
from api.auth.principal import SERVER
from api.builds import service as building
from api.builds.normal import NormalRequest
from api.queue import Queue
from api.quotas.service import Allotments
from catalog import builds, versions
from catalog.engine import reading
from catalog.states import BuildState
from kitbag.refs import EnvRef

A = TypeVar("A")
T = TypeVar("T")
ANNOTATION = "kitbag.dev/wait"
_POLL_S = 0.1


class NotReadyError(Exception):
    """The builds did not end well, or not in time; the text is a sentence for the user."""


class Waiting:
    """Follows builds in the catalog; `slots` are the threads that may tell the queue."""

    def __init__(
        self, engine: Engine, queue: Queue, slots: CapacityLimiter, quotas: Allotments
    ) -> None:
        self._quotas = quotas
        self._engine = engine
        self._queue = queue
        self._slots = slots

    async def settle(self, wanted: EnvRef, wait: Wait, *, deadline: float, dry_run: bool) -> None:
        """Return when the builds to wait for are ready; raises NotReadyError and SQLAlchemyError.

        A fixed version waits for nothing, and a dry run starts nothing. `deadline` is a time of
        time.monotonic.
        """
        if wait is Wait.NEVER or wanted.number is not None or wanted.may_be_commit:
            return
        if wait is Wait.BUILD and not dry_run:
            await self._begin(wanted)
        pending = await _read(self._active, wanted.environment)
        while pending:
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"The build {pending[0]} of {wanted.environment} goes on for longer than the "
                    "API server waits; apply this again in a while, or name a version."
                )
            await sleep(_POLL_S)
            pending = await _read(self._unfinished, pending)

    async def _begin(self, wanted: EnvRef) -> None:
        request = await _read(self._last_request, wanted.environment)
        if request is None:
            return
        build, created = await to_thread.run_sync(
            building.submit, self._engine, SERVER, request, self._quotas
        )
        if created:
            await building.tell(self._queue, self._slots, build.id)

    def _last_request(self, environment: str) -> NormalRequest | None:
        with reading(self._engine) as session:
            found = builds.listing(session, environment=environment, limit=1)
            return NormalRequest(environment, dict(found[0].request)) if found else None

    def _active(self, environment: str) -> Sequence[str]:
        with reading(self._engine) as session:
            return [build.id for build in builds.active(session, environment)]

    def _unfinished(self, build_ids: Iterable[str]) -> Sequence[str]:
        left = []
        with reading(self._engine) as session:
            for build_id in build_ids:
                build = builds.get(session, build_id)
                if build.state is BuildState.FAILED:
                    detail = str((build.error or {}).get("detail", "no reason was kept"))
                    name = build.environment.full_name
                    raise NotReadyError(
                        f"The build {build_id} of {name}, which this waited for, failed: {detail} "
                        f"Apply this again to use {_newest(build.environment.last_version)}."
                    )
                if build.state not in (BuildState.READY, BuildState.CANCELLED):
                    left.append(build_id)
        return left


async def _read(ask: Callable[[A], T], about: A) -> T:
    """What the catalog says, in a thread that is left alone when it takes too long."""
    return await to_thread.run_sync(ask, about, abandon_on_cancel=True)


def _newest(last_version: int) -> str:
    return f"version {last_version}" if last_version else f"{versions.LATEST} once there is one"
