"""Puts the latest versions of environments on another base, many at a time.

Each environment is a transaction of its own, and what is on the new base already is not looked at
again: whoever asks once more after a failure goes on where it stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from builder import rebase, several, stored
from builder.errors import BuildError, RebaseRefusedError
from builder.lock import parse
from builder.model import Base, Lock, Platform, Way
from catalog import bases, rebases, versions
from catalog.engine import reading, writing
from catalog.models import Version, VersionImage
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
    news, waiting = patiently(lambda: _waiting(kit, order))
    new = news[0]
    work = _Work(kit, order, news)
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


def _waiting(kit: Services, order: Order) -> tuple[list[Base], list[tuple[str, int]]]:
    """The new base for each of its platforms, and the versions that aren't on them."""
    with reading(kit.engine) as session:
        bases.meant(session, order.old)
        news = [Base.from_json(row.record) for row in bases.all_meant(session, order.new)]
        digests = [new.digest for new in news]
        return news, list(rebases.waiting(session, order.old, digests, order.environments))


@dataclass(frozen=True, slots=True)
class Going:
    """An image that goes from base to base: its packages, both bases, and what the store has."""

    lock: Lock
    old: Base
    new: Base
    there: stored.Stored


class _Work:
    """What the environments of one order share; safe for threads."""

    def __init__(self, kit: Services, order: Order, news: Sequence[Base]) -> None:
        self._kit, self._order = kit, order
        self._news = {str(new.platform): new for new in news}
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
            texts = [versions.lock_text(session, image) for image in version.images]
        going = [self._going(version, *pair) for pair in zip(version.images, texts, strict=True)]
        if self._order.dry_run:
            return {"state": "would-rebase"}
        facts = [
            _kept(image) if each is None else self._rebased(name, image, each)
            for image, each in zip(version.images, going, strict=True)
        ]
        facts = self._indexed(name, version, facts)
        with writing(self._kit.engine) as session:
            made = rebases.add(session, version, facts)
        if made is None:
            return {"state": "moved"}
        first = facts[0]
        digest = first.index_digest or first.digest
        image = self._kit.store.reference(name, digest)
        return {"state": "rebased", "number": made, "image": image}

    def _going(self, version: Version, image: VersionImage, text: str | None) -> Going | None:
        """What is needed to move the image; None if it isn't on the old base.

        Raises RebaseRefusedError.
        """
        if self._order.old not in (image.base_name, image.base_digest):
            return None
        old = self._base(image.base_digest)
        new = self._news.get(image.platform)
        if text is None:
            raise RebaseRefusedError("it has no lock: a container engine made it")
        if old is None:
            raise RebaseRefusedError(f"its base {image.base_digest} is not known any more")
        if new is None:
            have = " and ".join(self._news)
            raise RebaseRefusedError(f"{self._order.new} is for {have}, not {image.platform}")
        system, _, arch = image.platform.partition("/")
        lock: Lock = self._parsed(text, version.python, Platform(system, arch))
        there = stored.read(self._kit.store, version.environment.full_name, image.digest)
        if there.labels.get("kitbag.dev/way") == Way.BINDER:
            raise RebaseRefusedError("its repository's own files and code are in it; build it anew")
        rebase.check(lock, old, new)
        return Going(lock, old, new, there)

    def _rebased(self, name: str, image: VersionImage, going: Going) -> rebases.Rebased:
        old, new = going.old, going.new
        made = rebase.rebase(going.there, going.lock, old, new, name, self._kit.store)
        above = [list(layer["packages"]) for layer in image.layers[len(old.layers) :]]
        packages: list[list[str]] = [[] for _ in new.layers] + above
        return rebases.Rebased(
            image=made.reference,
            digest=made.digest,
            base_name=new.name,
            base_digest=new.digest,
            size_bytes=made.size_bytes,
            layers=[
                {
                    "digest": layer.descriptor.digest,
                    "size_bytes": layer.descriptor.size_bytes,
                    "packages": names,
                }
                for layer, names in zip(made.layers, packages, strict=True)
            ],
        )

    def _indexed(
        self, name: str, version: Version, facts: Sequence[rebases.Rebased]
    ) -> list[rebases.Rebased]:
        """The facts with the indexes of accelerators that are for several platforms."""
        by_accelerator: dict[str, dict[Platform, str]] = {}
        for image, each in zip(version.images, facts, strict=True):
            system, _, arch = image.platform.partition("/")
            platforms = by_accelerator.setdefault(image.accelerator, {})
            platforms[Platform(system, arch)] = each.digest
        indexes = {
            accelerator: several.put_index(digests, name, self._kit.store)
            for accelerator, digests in by_accelerator.items()
        }
        return [
            replace(each, index_digest=indexes[image.accelerator])
            for image, each in zip(version.images, facts, strict=True)
        ]

    def _base(self, digest: str) -> Base | None:
        with self._mutex:
            if digest not in self._bases:
                with reading(self._kit.engine) as session:
                    row = bases.with_digest(session, digest)
                self._bases[digest] = None if row is None else Base.from_json(row.record)
            return self._bases[digest]


def _kept(image: VersionImage) -> rebases.Rebased:
    """An image that stays as it is."""
    return rebases.Rebased(
        image=image.image,
        digest=image.digest,
        base_name=image.base_name,
        base_digest=image.base_digest,
        size_bytes=image.size_bytes,
        layers=image.layers,
    )
