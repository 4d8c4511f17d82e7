"""Makes the bytes of package layers: fetches wheels, splices them, puts buckets together.

fetchers ──> splicers ──> cache ──> layer ──> (packers ──> cache ──> Zstandard layer)
                └── compilers
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from builder.cores import cores
from builder.download import Downloader
from builder.errors import BadWheelError
from builder.layers import archive, bytecode, install, splice, splicers, wheel, zst
from builder.layers.ahead import Ahead
from builder.layers.cache import LayerCache, Recipe
from builder.model import LockedWheel, Step

FETCHERS = 8
"""Downloads at once; wheels that wait on disk for a splicer don't count."""


class Maker:
    """The stages of one build, each with threads of its own; use as a context manager.

    A stage waits only for stages after it, so they can't wait for each other in a circle. `check`
    is called often and raises when the work must stop. A large build without bytecode splices in
    processes; with it the processes that compile do most of the work already.
    """

    def __init__(
        self,
        recipe: Recipe,
        cache: LayerCache,
        downloader: Downloader,
        compiler: bytecode.Compiler | None,
        check: Callable[[], None],
        report: Callable[[Step], None],
        *,
        large: bool = False,
    ) -> None:
        self._recipe = recipe
        self._spliced = recipe.spliced
        self._cache = cache
        self._downloader = downloader
        self._compiler = compiler
        self._check = check
        self._report = report
        self._prefix = install.Prefix(recipe.prefix, recipe.python)
        self._apart = splicers.Splicers(self._prefix) if large and compiler is None else None
        at_once = cores()
        self._fetchers = ThreadPoolExecutor(FETCHERS + 2 * at_once, "fetch")
        self._downloads = threading.BoundedSemaphore(FETCHERS)
        self._splicers = ThreadPoolExecutor(at_once, "splice")
        self._compilers = ThreadPoolExecutor(at_once, "compile")
        self._packers = ThreadPoolExecutor(at_once, "pack")
        self._ahead = Ahead(zst.AHEAD_BYTES)
        self._lock = threading.Lock()
        self._wheels_done = 0
        self._wheels_begun = 0
        self.downloaded_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After a failure nobody waits for a stage that an index or a disk holds up: its threads
        # end by themselves at their next check, and what they write is of use to the next build.
        for stage in (self._fetchers, self._splicers, self._compilers, self._packers):
            stage.shutdown(wait=kind is None, cancel_futures=True)
        if self._apart:
            self._apart.close()

    def begin(self, wheels: Sequence[LockedWheel]) -> list[Future[str]]:
        """Start on the wheels; each future gives a layer key when that layer is in the cache."""
        with self._lock:
            self._wheels_begun += len(wheels)
        return [self._fetchers.submit(self._wheel, item) for item in wheels]

    def layer(
        self, wheels: Sequence[LockedWheel], begun: Sequence[Future[str]]
    ) -> tuple[Path, archive.Written]:
        """The layer file of those wheels, one or a bucket of several, packed as the recipe says."""
        keys = [future.result() for future in begun]
        hashes = [item.sha256 for item in wheels]
        key = self._spliced.key(*hashes)
        if len(keys) > 1:
            self._cache.make(key, partial(self._write_bucket, keys=keys), self._check)
        if self._recipe.packer is None:
            return self._cached(key)
        packed = self._recipe.key(*hashes)
        written = self._cache.make(packed, partial(self._repack, key), self._check)
        return self._cache.path(packed), written

    def _wheel(self, item: LockedWheel) -> str:
        key = self._spliced.key(item.sha256)
        self._check()
        if self._cache.get(key) is None:
            self._cache.make(key, partial(self._fetched, item), self._check)
        with self._lock:
            self._wheels_done += 1
            data = {
                "done": self._wheels_done,
                "total": self._wheels_begun,
                "downloaded_bytes": self.downloaded_bytes,
            }
        self._report(Step("progress", "building", f"{item.name} {item.version}", data))
        return key

    def _fetched(self, item: LockedWheel, out: BinaryIO) -> archive.Written:
        """Fetch and splice; who holds the lock of the layer does both, so neither is done twice."""
        with ExitStack() as stack:
            with self._downloads:
                path = stack.enter_context(self._downloader.wheel(item, self._received))
            try:
                return self._splicers.submit(self._splice, out, path).result()
            except BadWheelError as error:
                error.extra.setdefault("package", item.name)
                raise

    def _splice(self, out: BinaryIO, path: Path) -> archive.Written:
        self._check()
        if self._apart:
            return self._apart.write_wheel(out, path, self._check)
        source = wheel.read(path)
        return splice.write_wheel(
            out, source, self._prefix, self._compiler, self._compilers, self._check
        )

    def _write_bucket(self, out: BinaryIO, keys: Sequence[str]) -> archive.Written:
        with ExitStack() as stack:
            pieces = []
            for key in keys:
                path, written = self._cached(key)
                pieces.append((stack.enter_context(path.open("rb")), written))
            return splice.write_bucket(out, self._prefix, pieces)

    def _repack(self, key: str, out: BinaryIO) -> archive.Written:
        path, written = self._cached(key)
        with path.open("rb") as file:
            return zst.repack(out, file, written, self._packers, self._ahead, self._check)

    def _cached(self, key: str) -> tuple[Path, archive.Written]:
        written = self._cache.get(key)
        if written is None:
            raise FileNotFoundError(self._cache.path(key))
        return self._cache.path(key), written

    def _received(self, size: int) -> None:
        self._check()
        with self._lock:
            self.downloaded_bytes += size
