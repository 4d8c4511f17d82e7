"""One Dockerfile built by the engine, or found in the store where the same was built before."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.binder.dockerfile import Site
from builder.binder.log import BuildLog
from builder.engines.protocol import Engine, Job, Limits
from builder.model import Base, Platform, Step
from builder.stores.protocol import Store

NO_SITE = Site()
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What the binder way works with: the engine, its limits, and who is told and asked.

    `id` is the build's in the catalog, and `staging` is told the digest of an image that is of use
    to it alone, before the store has it: below STAGES, in the environment's repository. `fresh`
    makes it build what was built before too. `cache` is where below the registry the engine's cache
    of each repository is. `secrets` are texts that no log may show.
    """

    engine: Engine
    store: Store
    limits: Limits = NO_LIMITS
    site: Site = NO_SITE
    scratch: Path | None = None
    fresh: bool = False
    id: str = "build"
    cache: str | None = None
    secrets: tuple[str, ...] = ()
    staging: Callable[[str], None] = lambda _: None
    report: Callable[[Step], None] = lambda _: None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Order:
    """A Dockerfile for a repository of the store; `key` are the contents that decide the image.

    `cached` is whether an earlier build's steps may be of use, beside what `key` finds.
    `keep_base` is whether the engine keeps its copy of the base for other builds.
    `context` is a folder that holds the file `dockerfile`; without one `dockerfile` is its text.
    """

    dockerfile: str
    base: Base | None
    repo: str
    platform: Platform
    key: tuple[str, ...]
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    context: Path | None = None
    keep_base: bool = True
    cached: bool = False

    @property
    def tag(self) -> str:
        """The tag under which the store keeps what came of it."""
        told = hashlib.sha256()
        for part in (self.dockerfile, str(self.platform), *self.key):
            told.update(part.encode() + b"\0")
        return f"kitbag-{told.hexdigest()[:32]}"


def known(shop: Workshop, order: Order) -> str | None:
    """The digest of the order's image if the store has it, and it isn't to be built anew."""
    found = None if shop.fresh else shop.store.manifest(order.repo, order.tag)
    return None if found is None else found.digest


def made(shop: Workshop, order: Order) -> str:
    """The digest of the order's image in its repository, built now; raises what the engine does."""
    with (
        tempfile.TemporaryDirectory(prefix="context-", dir=shop.scratch) as folder,
        BuildLog(shop.report, shop.secrets) as log,
    ):
        if order.context is None:
            (Path(folder) / "Dockerfile").write_text(order.dockerfile)
        job = Job(
            id=shop.id,
            context=order.context or Path(folder),
            dockerfile=order.dockerfile if order.context else "Dockerfile",
            repo=order.repo,
            platform=order.platform,
            base=order.base,
            keep_base=order.keep_base,
            args=order.args,
            labels=order.labels,
            secrets=order.secrets,
            limits=shop.limits,
            cache_repo=f"{shop.cache}/{order.repo}" if shop.cache and order.cached else None,
        )
        image = shop.engine.build(job, shop.store, log=log, cancelled=shop.cancelled)
    found = shop.store.manifest(order.repo, image.digest)
    if found is not None:
        shop.store.put_manifest(order.repo, found, tags=[order.tag])
    return image.digest
