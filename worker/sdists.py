"""How this worker builds packages that have no wheel, if it has a container engine."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from builder.choices import Choices
from builder.detect import Asked, Requirements
from builder.engines.logs import LogSink
from builder.lock import Target
from builder.lock.resolve import Resolver
from builder.model import Base, Lock, Step
from builder.sdists.sdists import Sdists, Site
from worker.containers import aside_id
from worker.services import Services


def sdists_for(
    services: Services,
    base: Base,
    environment: str,
    folder: Path,
    report: Callable[[Step], None],
    cancelled: Callable[[], bool],
) -> Sdists | None:
    """What builds packages from source on the base, None without an engine.

    `folder` is an empty one of the caller, where uv finds the wheels while it locks.
    """
    engine = services.containers
    if engine is None:
        return None
    uv = dataclasses.replace(services.uv(environment), cancelled=cancelled)
    target = Target(base.python.version, base.glibc, base.platform)

    def resolve(requires: Sequence[str]) -> Lock:
        asked = tuple(
            Asked(text, canonicalize_name(Requirement(text).name), "build-system.requires", 1)
            for text in requires
        )
        with tempfile.TemporaryDirectory(prefix="kitbag-lock-") as name:
            wanted = Requirements(asked=asked)
            none = Choices()
            return Resolver(wanted, target, uv, Path(name), None, none, upgrade=False).lock()

    site = Site(
        engine, services.store, services.settings.cache_root / "sdists", services.engine_limits
    )
    return Sdists(
        site,
        base,
        services.downloader(environment),
        resolve,
        folder,
        hosts=uv.hosts,
        own=uv.own_origins,
        build=aside_id(),
        log=LogSink(lambda line: report(Step("log", "resolving", line))),
        cancelled=cancelled,
    )
