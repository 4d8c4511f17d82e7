"""Puts the latest versions of environments on another base, many at a time.

Each environment is a transaction of its own, and what is on the new base already is not looked at
again: whoever asks once more after a failure goes on where it stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from builder import rebase, stored
from builder.errors import BuildError, RebaseRefusedError
from builder.lock import parse
from builder.model import Base, Image, Lock, Platform, Way
from catalog import bases, rebases, versions
from catalog.engine import reading, writing
from catalog.models import Version
from worker.patience import patiently
from worker.services import Services

AT_ONCE = 8
_TELL_S = 1.0
Tell = Callable[[Mapping[str, Any]], None]


class Order(BaseModel):
    """From which base to which, and for which environments: NS/NAME, NS/* or *."""

    model_config = ConfigDict(frozen=True)

    old: str
    new: str
    environments: str = "*"
    dry_run: bool = False


def run(kit: Services, order: Order, tell: Tell) -> dict[str, Any]:
    """What became of each environment, as JSON, by name.

    An environment is `rebased`, `would-rebase` in a dry run, `refused` with a `reason`, or `moved`
    if somebody else gave it a newer version meanwhile. Raises catalog.errors for an unknown base.
    """
    new, waiting = patiently(lambda: _waiting(kit, order))
    work = _Work(kit, new, order.dry_run)
    items: list[dict[str, Any]] = []
    tell({"done": 0, "total": len(waiting)})
    with ThreadPoolExecutor(AT_ONCE, "rebase") as threads:
        pending = {threads.submit(work.one, name, number) for name, number in waiting}
        try:
            while pending:
                done, pending = wait(pending, timeout=_TELL_S, return_when=FIRST_COMPLETED)
                items += [future.result() for future in done]
                tell({"done": len(items), "total": len(waiting)})
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return {
        "old": order.old,
        "new": {"name": new.name, "digest": new.digest},
        "dry_run": order.dry_run,
        "items": sorted(items, key=lambda item: str(item["environment"])),
    }


def _waiting(kit: Services, order: Order) -> tuple[Base, list[tuple[str, int]]]:
    with reading(kit.engine) as session:
        bases.meant(session, order.old)
        new = Base.from_json(bases.meant(session, order.new).record)
        found = rebases.waiting(session, order.old, [new.digest], order.environments)
        return new, list(found)


class _Work:
    """What the environments of one order share; safe for threads."""

    def __init__(self, kit: Services, new: Base, dry_run: bool) -> None:
        self._kit, self._new, self._dry_run = kit, new, dry_run
        self._parsed = lru_cache(maxsize=64)(parse)
        self._bases: dict[str, Base | None] = {}
        self._mutex = threading.Lock()

    def one(self, name: str, number: int) -> dict[str, Any]:
        """What became of one environment."""
        item: dict[str, Any] = {"environment": name, "version": number}
        try:
            return item | patiently(lambda: self._moved(name, number))
        except BuildError as error:
            return item | {"state": "refused", "reason": error.detail}

    def _moved(self, name: str, number: int) -> dict[str, Any]:
        with reading(self._kit.engine) as session:
            version = versions.find(session, name, str(number), whole=True)
            text = versions.lock_text(session, version)
        old = self._base(version.base_digest)
        if text is None:
            raise RebaseRefusedError("it has no lock: a container engine made it")
        if old is None:
            raise RebaseRefusedError(f"its base {version.base_digest} is not known any more")
        system, _, arch = version.platform.partition("/")
        lock: Lock = self._parsed(text, version.python, Platform(system, arch))
        store = self._kit.store
        there = stored.read(store, name, version.digest)
        if there.labels.get("kitbag.dev/way") == Way.BINDER:
            raise RebaseRefusedError("its repository's own files and code are in it; build it anew")
        rebase.check(lock, old, self._new)
        if self._dry_run:
            return {"state": "would-rebase"}
        image = rebase.rebase(there, lock, old, self._new, name, store)
        facts = self._facts(version, old, image)
        with writing(self._kit.engine) as session:
            made = rebases.add(session, version, [facts])
        if made is None:
            return {"state": "moved"}
        return {"state": "rebased", "number": made, "image": image.reference}

    def _facts(self, version: Version, old: Base, image: Image) -> rebases.Rebased:
        above = [list(layer["packages"]) for layer in version.layers[len(old.layers) :]]
        packages: list[list[str]] = [[] for _ in self._new.layers] + above
        return rebases.Rebased(
            image=image.reference,
            digest=image.digest,
            base_name=self._new.name,
            base_digest=self._new.digest,
            size_bytes=image.size_bytes,
            layers=[
                {
                    "digest": layer.descriptor.digest,
                    "size_bytes": layer.descriptor.size_bytes,
                    "packages": names,
                }
                for layer, names in zip(image.layers, packages, strict=True)
            ],
        )

    def _base(self, digest: str) -> Base | None:
        with self._mutex:
            if digest not in self._bases:
                with reading(self._kit.engine) as session:
                    row = bases.with_digest(session, digest)
                self._bases[digest] = None if row is None else Base.from_json(row.record)
            return self._bases[digest]
