"""Several images made as one: for each accelerator, and under an index for each platform.

image ─> image ─> …   each finds the layers, downloads and wheels that those before it made
  └────────┴──────> all blobs are in the store ─> manifests ─> an index for each accelerator
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from builder import image
from builder.cuda import Cuda
from builder.errors import StoreRefusedError
from builder.index import Known, LayerIndex
from builder.layered import NO_EXTRAS, Stats, Tools, Work, tag_of
from builder.model import MANIFEST_TYPE, Base, Descriptor, Image, Layer, Lock, Platform, Step
from builder.stores.protocol import Manifest, Store


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to make: what it is for, and what decides it. Its platform is the base's."""

    accelerator: str
    lock: Lock
    base: Base
    tools: Tools
    cuda: Cuda | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """An image that is published, and the index that names it, None for an image on its own."""

    image: Image
    index_digest: str | None
    stats: Stats


def build(
    wanted: Sequence[Wanted],
    repo: str,
    *,
    report: Callable[[Step], None] = lambda _: None,
    pushing: Callable[[], None] = lambda: None,
    admit: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Made]:
    """Make all of the images and publish them, an accelerator's platforms together as an index.

    Nothing is published before the blobs of all of them are in the store; the arguments are those
    of `layered.build`, and `admit` may refuse an image by its size. What is reported names the
    image where there are several. Raises what `layered.build` raises.
    """
    shared = Shared(wanted[0].tools.index)
    works = []
    for item in wanted:
        tools = replace(item.tools, index=shared)
        told = report
        if len(wanted) > 1:
            told = naming_steps(item.accelerator, item.base.platform, report)
        work = Work(item.lock, item.base, repo, tools, item.cuda, NO_EXTRAS, told, cancelled)
        ready = work.make()
        keys = (planned.key for planned in ready.plan)
        shared.add(zip(keys, ready.layers, strict=True), repo)
        works.append((item, work, ready))
    for _, _, ready in works:
        admit(ready.made.size_bytes)
    pushing()
    works[0][1].check()  # the last moment: what comes now publishes the images
    done = [(item, *work.publish(ready)) for item, work, ready in works]
    store = wanted[0].tools.store
    indexes = {
        accelerator: put_index(
            {
                item.base.platform: made.digest
                for item, made, _ in done
                if item.accelerator == accelerator
            },
            repo,
            store,
        )
        for accelerator in dict.fromkeys(item.accelerator for item in wanted)
    }
    return [Made(made, indexes[item.accelerator], stats) for item, made, stats in done]


def put_index(images: Mapping[Platform, str], repo: str, store: Store) -> str | None:
    """Publish the index of images that are in the repository, by their digests, and give its own.

    None for one image, which needs none. Raises StoreRefusedError if the store lost one.
    """
    manifest = index_of(images, repo, store)
    if manifest is None:
        return None
    store.put_manifest(repo, manifest, tags=[tag_of(manifest.digest)])
    return manifest.digest


def index_of(images: Mapping[Platform, str], repo: str, store: Store) -> Manifest | None:
    """The index of images by their digests, as the store has them; None for one on its own.

    Raises StoreRefusedError if the store lost one.
    """
    if len(images) < 2:
        return None
    found = []
    for platform, digest in images.items():
        manifest = store.manifest(repo, digest)
        if manifest is None:
            raise StoreRefusedError(
                f"{store.name} has no image {repo}@{digest} any more; build the environment again."
            )
        found.append((platform, Descriptor(MANIFEST_TYPE, digest, len(manifest.data))))
    return image.index(found)


def naming_steps(
    accelerator: str, platform: Platform, report: Callable[[Step], None]
) -> Callable[[Step], None]:
    """Reports steps so that they say which of several images they are about."""
    about = {"accelerator": str(accelerator), "platform": str(platform)}

    def named(step: Step) -> None:
        message = f"{accelerator} on {platform}: {step.message}"
        report(replace(step, message=message, data={**step.data, **about}))

    return named


class Shared:
    """A layer index that also knows what is made for the other images at hand."""

    def __init__(self, index: LayerIndex) -> None:
        self._index = index
        self._made: dict[str, Known] = {}

    def add(self, made: Iterable[tuple[str, Layer]], repo: str) -> None:
        """Know layers that are in the repository now, though no manifest names them yet."""
        self._made |= {key: Known(layer, (repo,)) for key, layer in made}

    def known(self, keys: Sequence[str], store: str) -> dict[str, Known]:
        found = self._index.known(keys, store)
        return found | {key: self._made[key] for key in keys if key in self._made}

    def record(self, made: Iterable[tuple[str, Layer]], store: str, repo: str) -> None:
        self._index.record(made, store, repo)

    def lost(self, digest: str, store: str, repo: str) -> None:
        self._index.lost(digest, store, repo)
