"""Copies versions to the registries of their targets; the catalog says which, and what is there.

One process of all workers does it, a thread for each target, so that a slow registry keeps neither
the others nor the builds waiting. What a copy left half done is found in the registry by the next.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import redis
from sqlalchemy.exc import SQLAlchemyError

from builder.errors import BuildError
from builder.layered import tag_of
from builder.stores.copy import blobs_of, copy_image, images_of
from builder.stores.protocol import Put, Store
from catalog import layers, mirrors
from catalog.engine import reading, writing
from catalog.errors import LostMirrorError
from catalog.target_models import Mirror
from worker import identity
from worker.patience import patiently
from worker.services import Services

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Targets that are copied to at the same time."""
_PARALLEL = 4
_LONGEST_S = 600.0
_KEY = "kitbag:mirroring"
_HELD_S = 60
_SURPRISE = "something unexpected happened, and the worker's log says what"


@dataclass(slots=True)
class _Copy:
    """One copy on its way, and the bytes that it moved since the catalog was told."""

    mirror: Mirror
    moved_bytes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, put: Put) -> None:
        with self.lock:
            self.moved_bytes += put.moved_bytes

    def taken(self) -> int:
        """The bytes to tell of, which are told of once."""
        with self.lock:
            moved, self.moved_bytes = self.moved_bytes, 0
        return moved


def due(kit: Services) -> bool:
    """Whether a copy may begin now; what dead workers of this machine had is let go of first."""
    with reading(kit.engine) as session:
        left = [(one, who) for one, who in mirrors.copying(session) if identity.is_dead(who)]
    for one, who in left:
        with writing(kit.engine) as session:
            mirrors.release(session, one, str(who))
    with reading(kit.engine) as session:
        return bool(mirrors.due(session, limit=1))


def mirror_alone(kit: Services) -> None:
    """Do what is due unless another process of the workers is at it."""
    with redis.Redis.from_url(kit.settings.broker_url, socket_timeout=5) as broker:
        me = identity.me()
        if not broker.set(_KEY, me, nx=True, ex=_HELD_S):
            holder = broker.get(_KEY)
            if not isinstance(holder, bytes) or not identity.is_dead(holder.decode()):
                return
            broker.set(_KEY, me, ex=_HELD_S)
        try:
            mirror(kit, lambda: _hold(broker))
        finally:
            try:
                broker.delete(_KEY)
            except redis.RedisError:
                log.warning("the queue does not answer; another process mirrors in %s s", _HELD_S)


def _hold(broker: redis.Redis) -> None:
    try:
        broker.expire(_KEY, _HELD_S)
    except redis.RedisError:
        return  # then two processes may do it: the catalog gives each copy to one


def mirror(kit: Services, tick: Callable[[], None] = lambda: None) -> None:
    """Copy all that is due; returns when nothing may begin and nothing is on its way."""
    running: dict[Future[None], _Copy] = {}
    with ThreadPoolExecutor(AT_ONCE, "mirror") as threads:
        while True:
            tick()
            for copy in _claimed(kit, AT_ONCE - len(running)):
                running[threads.submit(_copy, kit, copy)] = copy
            if not running:
                return
            done, _ = wait(running, timeout=kit.settings.heartbeat_s, return_when=FIRST_COMPLETED)
            for future in done:
                _end(kit, running.pop(future), future)
            for copy in running.values():
                _beat(kit, copy)


def _claimed(kit: Services, room: int) -> Iterator[_Copy]:
    if room <= 0:
        return
    lease = timedelta(seconds=kit.settings.lease_s)

    def look() -> list[int]:
        with reading(kit.engine) as session:
            return list(mirrors.due(session))

    def claim(mirror_id: int) -> Mirror | None:
        with writing(kit.engine) as session:
            return mirrors.claim(session, mirror_id, identity.me(), lease)

    for mirror_id in patiently(look):
        found = patiently(lambda mirror_id=mirror_id: claim(mirror_id))  # type: ignore[misc]
        if found is not None:
            yield _Copy(found)
            room -= 1
        if room == 0:
            return


def _beat(kit: Services, copy: _Copy) -> None:
    moved = copy.taken()
    try:
        with writing(kit.engine) as session:
            lease = timedelta(seconds=kit.settings.lease_s)
            mirrors.beat(session, copy.mirror.id, copy.mirror.attempt, lease, moved)
    except (LostMirrorError, SQLAlchemyError) as error:
        with copy.lock:
            copy.moved_bytes += moved
        log.warning("no sign of life of the copy %s: %s", copy.mirror.id, type(error).__name__)


def _copy(kit: Services, copy: _Copy) -> None:
    """Copy all images and indexes of the version; raises builder.errors."""
    version, target = copy.mirror.version, copy.mirror.target
    repo = version.environment.full_name
    src, dst = kit.store, kit.target_store(target.url)
    for digest in dict.fromkeys(one.index_digest or one.digest for one in version.images):
        with _places(kit, src, dst, repo, digest) as place:
            copy_image(
                src,
                repo,
                digest,
                dst,
                repo,
                tags=[tag_of(digest)],
                parallel=_PARALLEL,
                mount_from=place,
                on_put=copy.add,
            )


@contextmanager
def _places(
    kit: Services, src: Store, dst: Store, repo: str, digest: str
) -> Iterator[Callable[[str], str | None]]:
    """Where else at the target blobs of the image lie; and afterwards, that they lie here too."""
    blobs = _blobs(src, repo, digest)
    with reading(kit.engine) as session:
        known = layers.places(session, blobs, dst.name)

    def place(blob: str) -> str | None:
        return next((one for one in known.get(blob, ()) if one != repo), None)

    yield place
    with writing(kit.engine) as session:
        layers.place(session, [layers.Place(blob, dst.name, repo) for blob in blobs])


def _blobs(store: Store, repo: str, digest: str) -> list[str]:
    """The digests of all layers and configs that an image or index has below it."""
    found = store.manifest(repo, digest)
    if found is None:
        return []  # the copy says so
    return [blob.digest for image in images_of(store, repo, found) for blob in blobs_of(image)]


def _end(kit: Services, copy: _Copy, future: Future[None]) -> None:
    """Tell the catalog what came of a copy; a copy that it lost is made again by somebody."""
    error = future.exception()
    problem = ""
    if isinstance(error, BuildError):
        problem = error.detail
    elif error is not None:
        log.error("the copy %s failed unexpectedly", copy.mirror.id, exc_info=error)
        problem = _SURPRISE
    mirror_, moved = copy.mirror, copy.taken()
    where = f"{mirror_.version.environment.full_name}:{mirror_.version.number}"
    wait_s = min(kit.settings.mirror_retry_s * 2 ** min(mirror_.tries, 16), _LONGEST_S)

    def finish() -> None:
        with writing(kit.engine) as session:
            mirrors.finish(
                session,
                mirror_.id,
                mirror_.attempt,
                again_in=timedelta(seconds=wait_s) if error else None,
                problem=problem,
                moved_bytes=moved,
            )

    try:
        patiently(finish)
    except LostMirrorError:
        log.info("the copy of %s is no longer this worker's", where)
        return
    if error:
        log.warning("%s is not at %s yet: %s", where, mirror_.target.name, problem)
    else:
        log.info("%s is at %s, %d bytes were moved", where, mirror_.target.name, moved)
