"""What names stood for when the catalog was last asked, kept on disk for when it can't be."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, Lock, move_on_after, to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from api.targets import service as targets
from catalog import versions
from catalog.engine import reading
from catalog.errors import CatalogError
from kitbag.specs import Images

T = TypeVar("T")
log = logging.getLogger(__name__)
_MAX_NAMES = 10_000
_MAX_DIGESTS = 100_000
_ASK_TIMEOUT_S = 2.0
_AWAY_S = 5.0  # how long a catalog that did not answer is not asked again


_AT = "|"


def at(target: str, name: str) -> str:
    """The name as the book has it: what it stands for at that target, or here if it is empty."""
    return f"{target}{_AT}{name}" if target else name


class CatalogAwayError(Exception):
    """The catalog does not answer, and nothing is known from before."""


@dataclass(frozen=True, slots=True)
class Known:
    """An image that a name stood for, `Images` where there are several for accelerators.

    `at` is when the catalog said so (time.monotonic).
    """

    image: str
    at: float


class Book:
    """Names and digests that the catalog confirmed; `fresh_s` is how long `latest` is believed.

    Used from the event loop. `path` is where it is kept, so that a server which starts while the
    catalog is away knows what the last one knew.
    """

    def __init__(self, engine: Engine, path: Path, *, fresh_s: float) -> None:
        self._engine = engine
        self._path = path
        self._fresh_s = fresh_s
        self._names: OrderedDict[str, Known] = OrderedDict()
        self._digests: OrderedDict[str, None] = OrderedDict()
        self._locks: dict[str, Lock] = {}
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self._slots = CapacityLimiter(4)
        self._away_until = float("-inf")
        self._saving = threading.Lock()
        self._load()

    def fresh(self, name: str) -> Known | None:
        """What the name stands for, unless the catalog should be asked. Numbers never change."""
        known = self._names.get(name)
        if known is None:
            return None
        return known if _is_fixed(name) or time.monotonic() - known.at < self._fresh_s else None

    def renew(self, names: Iterable[str]) -> None:
        """Ask for those of the names that are half as old as they may be, while nobody waits.

        So the reviews of a name that is used all the time are never the ones that wait.
        """
        now = time.monotonic()
        for name in names:
            known = self._names.get(name)
            old = known is not None and self.fresh(name) and now - known.at > self._fresh_s / 2
            if old and not _is_fixed(name) and name not in self._renewing:
                self._renewing[name] = asyncio.create_task(self._renew(name, now))

    async def _renew(self, name: str, since: float) -> None:
        try:
            with suppress(CatalogError, CatalogAwayError):
                await self.ask(name, since=since)
        finally:
            del self._renewing[name]

    async def ask(self, name: str, *, since: float) -> tuple[str, bool]:
        """The image of NAMESPACE/NAME[:VERSION], or of `at`, and whether the catalog still says so.

        An answer that came after `since` counts, so that many who ask at once are one question.
        Raises CatalogError for a name that stands for nothing, CatalogAwayError.
        """
        lock = self._locks.setdefault(name, Lock())
        try:
            async with lock:
                known = self._names.get(name)
                if known is not None and known.at >= since:
                    return known.image, True
                image = await self._catalog(lambda: self._resolve(name))
        finally:
            if not lock.statistics().tasks_waiting:
                self._locks.pop(name, None)
        if image is not None:
            await self._learn(name, image)
            return image, True
        if known is None:
            raise CatalogAwayError
        return known.image, False

    async def is_built(self, digest: str) -> bool:
        """Whether a version of the catalog has this digest; raises CatalogAwayError."""
        if digest in self._digests:
            return True
        found = await self._catalog(lambda: self._has(digest))
        if found is None:
            raise CatalogAwayError
        if found:
            self._digests[digest] = None
            await to_thread.run_sync(self._save)
        return found

    def _resolve(self, name: str) -> str:
        target, _, wanted = name.rpartition(_AT)
        with reading(self._engine) as session:
            version = versions.resolve(session, wanted)
            if target:
                return Images(targets.near(self._engine, session, version, target).references)
            return Images(versions.references(version))

    def _has(self, digest: str) -> bool:
        with reading(self._engine) as session:
            return versions.is_built(session, digest)

    async def _catalog(self, ask: Callable[[], T]) -> T | None:
        """The catalog's answer, None when it has none in time: an API server waits for this."""
        if time.monotonic() < self._away_until:
            return None
        with move_on_after(_ASK_TIMEOUT_S):
            try:
                return await to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._slots)
            except SQLAlchemyError as error:
                log.warning("the catalog does not answer: %s", error.__class__.__name__)
        self._away_until = time.monotonic() + _AWAY_S
        return None

    async def _learn(self, name: str, image: str) -> None:
        before = self._names.get(name)
        self._names[name] = Known(image, time.monotonic())
        self._names.move_to_end(name)
        images = _references(image)
        digests = [each.rpartition("@")[2] for each in images.values()]
        known = all(digest in self._digests for digest in digests)
        if before is not None and _references(before.image) == images and known:
            return
        self._digests.update(dict.fromkeys(digests))
        while len(self._names) > _MAX_NAMES:
            self._names.popitem(last=False)
        while len(self._digests) > _MAX_DIGESTS:
            self._digests.popitem(last=False)
        await to_thread.run_sync(self._save)

    def _load(self) -> None:
        try:
            kept = json.loads(self._path.read_bytes())
            names, digests = dict(kept["names"]), list(kept["digests"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s is not read, so nothing is known from before: %s", self._path, error)
            return
        never = float("-inf")
        self._names.update((str(name), Known(_read(image), never)) for name, image in names.items())
        self._digests.update((str(digest), None) for digest in digests)

    def _save(self) -> None:
        """Replace the file; one that can't be written costs only the next start its memory."""
        with self._saving:
            kept = {
                "names": {
                    name: _references(known.image) for name, known in self._names.copy().items()
                },
                "digests": list(self._digests.copy()),
            }
            half = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                half.write_text(json.dumps(kept))
                half.replace(self._path)
            except OSError as error:
                log.warning("what names stand for is not kept in %s: %s", self._path, error)


def _is_fixed(name: str) -> bool:
    """Whether it names a version by its number, here: a target may move to another registry."""
    return _AT not in name and name.rpartition(":")[2].isdecimal()


def _references(image: str) -> dict[str, str]:
    """The image for each accelerator; "" stands for any where there is one image."""
    return dict(image.by) if isinstance(image, Images) else {"": image}


def _read(kept: object) -> str:
    """An image as the file has it, which was one text before a version could have several."""
    if isinstance(kept, dict) and kept:
        return Images({str(name): str(image) for name, image in kept.items()})
    return str(kept)
