"""The layered way: a lock and a base become an image in a store, and only what is new is moved.

lock ─> groups ─> known? ──yes──> mounted or already there ──┐
                    └──no──> download ─> splice ─> push ─────┴─> config ─> manifest
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from builder import image, record, skeleton
from builder.cores import cores
from builder.cuda import Cuda
from builder.download import Downloader
from builder.errors import BlobsLostError, CancelledError
from builder.index import Known, LayerIndex
from builder.layers import archive, bytecode, splicers, zst
from builder.layers.cache import LayerCache, Recipe
from builder.layers.group import Group, group
from builder.making import Maker
from builder.model import Base, Compression, Image, Layer, Lock, LockedWheel, Step
from builder.putting import Putter
from builder.stages import after, left_at_failure
from builder.stores.protocol import Store

PUSHERS = 4, 16
"""Layers put together and pushed at once, at least and at most; in between as many as cores."""
_POLL_S = 0.1
_TAG_DIGITS = 16
_SKELETON = "an empty environment and its user"
_RECORD = "the lock"
_STAGE_OF = "kitbag.dev/stage-of"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a build works with, kept from build to build; all safe for threads."""

    store: Store
    index: LayerIndex
    cache: LayerCache
    downloader: Downloader
    compiler: bytecode.Compiler | None
    compression: Compression = Compression.GZIP


@dataclass(frozen=True, slots=True)
class PlannedLayer:
    """A layer of the image to be: its key, what is in it, and what is known of it."""

    key: str
    group: Group
    known: Known | None


@dataclass(frozen=True, slots=True)
class Addition:
    """A layer that goes on top of the packages, whose bytes are at hand."""

    title: str
    layer: Layer
    open_blob: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Extras:
    """What an image gets beside its packages; `room` is how many layers are added to it later.

    `stage_of` is the build that alone builds on the image: its id is the image's tag, and makes its
    digest another than that of the same image made for another build.
    """

    additions: tuple[Addition, ...] = ()
    settings: image.Settings = image.USUAL
    room: int = 0
    stage_of: str | None = None

    @property
    def layers(self) -> int:
        """How many layers fewer the packages may have."""
        return len(self.additions) + self.room


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Stats:
    """What a build took; sizes in bytes, `bytes_moved` into the store."""

    packages: int
    layers_known: int
    layers_new: int
    bytes_moved: int
    bytes_downloaded: int
    image_bytes: int


def recipe(base: Base, tools: Tools) -> Recipe:
    """What decides the bytes of layers on this base, beside the wheels."""
    compiler = tools.compiler
    version = compiler.interpreter.version if compiler else None
    packer = zst.PACKER if tools.compression is Compression.ZSTD else None
    return Recipe(skeleton.PREFIX, base.python.minor, version, packer)


def planned_layers(
    lock: Lock, base: Base, tools: Tools, extras: Extras = NO_EXTRAS
) -> list[PlannedLayer]:
    """The package layers of the image from the bottom up, with what the index knows of them."""
    how = recipe(base, tools)
    groups = group(lock.wheels, len(base.layers) + extras.layers)
    keys = [how.key(*(item.sha256 for item in member.wheels)) for member in groups]
    known = tools.index.known(keys, tools.store.name)
    return [
        PlannedLayer(key, member, known.get(key)) for key, member in zip(keys, groups, strict=True)
    ]


def build(
    lock: Lock,
    base: Base,
    repo: str,
    tools: Tools,
    *,
    cuda: Cuda | None = None,
    extras: Extras = NO_EXTRAS,
    report: Callable[[Step], None] = lambda _: None,
    pushing: Callable[[], None] = lambda: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Image, Stats]:
    """Make the image, push it to `repo` and publish it under its digest.

    The manifest also gets a tag made of the digest, so that no registry takes it for garbage.
    Nothing is published before all of it is there. `cuda` is what the image says of GPUs, `extras`
    what it holds beside the packages. `pushing` is called when all blobs are in the store.
    Raises the errors of builder.errors, and CancelledError soon after `cancelled` says so.
    """
    work = Work(lock, base, repo, tools, cuda, extras, report, cancelled)
    ready = work.make()
    pushing()
    work.check()  # the last moment: what comes now publishes the image
    return work.publish(ready)


@dataclass(frozen=True, slots=True)
class Ready:
    """An image whose blobs are all in the store; only its manifest isn't.

    `layers` are those of the plan, `own` the one below and the one above them.
    """

    made: image.Assembled
    plan: Sequence[PlannedLayer]
    layers: Sequence[Layer]
    own: Sequence[Layer]
    downloaded_bytes: int


class Work:
    """The making of one image; `make` once, then `publish`. The arguments are those of `build`."""

    def __init__(
        self,
        lock: Lock,
        base: Base,
        repo: str,
        tools: Tools,
        cuda: Cuda | None,
        extras: Extras,
        report: Callable[[Step], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._lock, self._base, self._repo, self._tools = lock, base, repo, tools
        self._cuda, self._extras = cuda, extras
        self._report, self._cancelled = report, cancelled
        self._failed = threading.Event()
        self._putter = Putter(tools.store, tools.index, repo, base, self.check)
        self._own: tuple[Callable[[BinaryIO], archive.Written], ...] = (
            partial(skeleton.write, base=base),
            partial(record.write, base=base, lock=lock, cuda=cuda),
        )

    def make(self) -> Ready:
        """Put all of the image but its manifest into the store."""
        tools, base = self._tools, self._base
        plan = planned_layers(self._lock, base, tools, self._extras)
        fresh = [item for item in plan if item.known is None]
        known = [item.known.layer.descriptor.digest for item in plan if item.known]
        missing = tools.store.missing(
            self._repo, [*known, *(layer.descriptor.digest for layer in base.layers)]
        )
        count = len(self._lock.wheels)
        packages = f"{count} package" if count == 1 else f"{count} packages"
        said = f"{packages}: {len(plan) - len(fresh)} layers known, {len(fresh)} new"
        self._report(Step("phase", "building", said))
        maker = self._maker(item for new in fresh for item in new.group.wheels)
        with maker, left_at_failure(ThreadPoolExecutor(_pushers(), "push")) as pushers:
            bases = [
                pushers.submit(self._putter.base, layer)
                for layer in base.layers
                if layer.descriptor.digest in missing
            ]
            contents = [self._layer(item, missing, maker, pushers) for item in plan]
            own = [pushers.submit(self._putter.own, write) for write in self._own]
            added = [
                pushers.submit(self._putter.layer, each.layer, each.open_blob)
                for each in self._extras.additions
            ]
            self._await([*bases, *contents, *own, *added])
        layers, outer = ([future.result() for future in each] for each in (contents, own))
        made = self._assembled(plan, layers, outer)
        return Ready(made, plan, layers, outer, maker.downloaded_bytes)

    def publish(self, ready: Ready) -> tuple[Image, Stats]:
        """Put the manifest, and remember the layers.

        What the store lost meanwhile, or said that it had and hasn't, is put again before.
        """
        tools, plan, layers, made = self._tools, ready.plan, ready.layers, ready.made
        try:
            self._put_manifest(made)
        except BlobsLostError as lost:
            with self._maker(self._lock.wheels) as maker:
                layers = self._restored(lost.digests, plan, layers, maker)
            made = self._assembled(plan, layers, ready.own)
            self._put_manifest(made)
        keys = [item.key for item in plan]
        tools.index.record(zip(keys, layers, strict=True), tools.store.name, self._repo)
        digest = made.manifest.digest
        reference = tools.store.reference(self._repo, digest)
        stats = replace(self.stats(ready), image_bytes=made.size_bytes)
        return Image(reference, digest, made.size_bytes, made.layers), stats

    def stats(self, ready: Ready) -> Stats:
        """What it took to get ready."""
        fresh = sum(item.known is None for item in ready.plan)
        return Stats(
            packages=len(self._lock.wheels),
            layers_known=len(ready.plan) - fresh,
            layers_new=fresh,
            bytes_moved=self._putter.moved_bytes,
            bytes_downloaded=ready.downloaded_bytes,
            image_bytes=ready.made.size_bytes,
        )

    def _maker(self, wheels: Iterable[LockedWheel]) -> Maker:
        tools = self._tools
        return Maker(
            recipe(self._base, tools),
            tools.cache,
            tools.downloader,
            tools.compiler,
            self.check,
            self._report,
            large=sum(each.size_bytes for each in wheels) >= splicers.WORTH_BYTES,
        )

    def _await(self, futures: Sequence[Future[Layer]]) -> None:
        """Wait for all, or for the first failure or cancellation, which stops the others."""
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                self.check()
        except BaseException:
            self._failed.set()
            for future in pending:
                future.cancel()
            raise

    def _layer(
        self, item: PlannedLayer, missing: set[str], maker: Maker, pushers: ThreadPoolExecutor
    ) -> Future[Layer]:
        """The layer's future; work is begun for what isn't in the repository yet."""
        if item.known and item.known.layer.descriptor.digest not in missing:
            there: Future[Layer] = Future()
            there.set_result(item.known.layer)
            return there
        sources = [repo for repo in item.known.repos if repo != self._repo] if item.known else []
        if item.known and sources:
            return pushers.submit(self._mount, item, item.known.layer, sources, maker)
        wheels = maker.begin(item.group.wheels)
        return after(wheels, partial(pushers.submit, self._push, item, wheels, maker))

    def _push(self, item: PlannedLayer, wheels: Sequence[Future[str]], maker: Maker) -> Layer:
        path, written = maker.layer(item.group.wheels, wheels)
        return self._putter.made(written, lambda: path.open("rb"), self._tools.compression)

    def _again(self, item: PlannedLayer, maker: Maker) -> Layer:
        """The layer of bytes that are made now, whatever is known of it."""
        return self._push(item, maker.begin(item.group.wheels), maker)

    def _mount(
        self, item: PlannedLayer, layer: Layer, sources: Sequence[str], maker: Maker
    ) -> Layer:
        return layer if self._putter.mounted(layer, sources) else self._again(item, maker)

    def _assembled(
        self, plan: Sequence[PlannedLayer], layers: Sequence[Layer], own: Sequence[Layer]
    ) -> image.Assembled:
        """The image of these layers, its config put."""
        how = recipe(self._base, self._tools)
        below, above = own
        parts = layers_of(below, [item.group for item in plan], layers, above)
        parts += [image.Part(each.layer, each.title) for each in self._extras.additions]
        labels = image.labels_of(self._base, self._lock, how.compiler, self._cuda, how.packer)
        stage = self._extras.stage_of
        made = image.assemble(
            self._base,
            parts,
            labels,
            self._cuda,
            self._extras.settings,
            {_STAGE_OF: stage} if stage else None,
        )
        config = partial(io.BytesIO, made.config)
        put = self._tools.store.put_blob(self._repo, made.config_descriptor, config)
        self._putter.moved(put.moved_bytes)
        return made

    def _put_manifest(self, made: image.Assembled) -> None:
        """Publish the image; raises BlobsLostError if the store lacks a layer after all."""
        manifest = made.manifest
        tag = self._extras.stage_of or tag_of(manifest.digest)
        self._tools.store.put_manifest(self._repo, manifest, tags=[tag])
        self._putter.moved(len(manifest.data))

    def _restored(
        self,
        digests: frozenset[str],
        plan: Sequence[PlannedLayer],
        layers: Sequence[Layer],
        maker: Maker,
    ) -> list[Layer]:
        """The package layers after those that the store said it had, and hasn't, were put again.

        Without digests all of them are.
        """

        def lost(layer: Layer) -> bool:
            return not digests or layer.descriptor.digest in digests

        for layer in filter(lost, self._base.layers):
            self._putter.base(layer)
        for write in self._own:
            self._putter.own(write)
        for each in self._extras.additions:
            self._putter.layer(each.layer, each.open_blob)
        return [
            self._again(item, maker) if lost(layer) else layer
            for item, layer in zip(plan, layers, strict=True)
        ]

    def check(self) -> None:
        """Raise CancelledError if the work is to stop."""
        if self._failed.is_set() or self._cancelled():
            raise CancelledError("The build was cancelled.")


def _pushers() -> int:
    least, most = PUSHERS
    return min(max(cores(), least), most)


def layers_of(
    below: Layer, groups: Sequence[Group], layers: Sequence[Layer], above: Layer
) -> list[image.Part]:
    """The layers above the base's, from the bottom up, each with its title."""
    packages = map(image.Part, layers, (item.title for item in groups))
    return [image.Part(below, _SKELETON), *packages, image.Part(above, _RECORD)]


def titles_of(lock: Lock, base: Base) -> list[str]:
    """What each layer of the image holds, in manifest order."""
    packages = [item.title for item in group(lock.wheels, len(base.layers))]
    return [f"base {base.name}"] * len(base.layers) + [_SKELETON, *packages, _RECORD]


def tag_of(digest: str) -> str:
    """The tag that keeps an image from a registry's collection of untagged manifests."""
    return f"sha256-{digest.removeprefix('sha256:')[:_TAG_DIGITS]}"
