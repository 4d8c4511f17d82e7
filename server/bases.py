"""The bases of the catalog, as the `kitbag-server base` commands see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from builder.bases.debian import check_platform, debian
from builder.model import Base, Platform, Step
from catalog import bases as table
from catalog.engine import reading
from server.catalog import migrate
from worker import bases
from worker.services import services


def add(
    name: str,
    image: str | None,
    suite: str | None,
    platform: str,
    say: Callable[[str], None],
    *,
    bare: str | None = None,
) -> dict[str, Any]:
    """Make the base, remember it, and describe it; raises builder.errors.

    `bare` is an image that the engine adds Python and more to.
    """
    kit = services()
    migrate(kit.settings.database_url)
    system, _, arch = platform.partition("/")

    def report(step: Step) -> None:
        if step.kind in ("phase", "warning"):
            say(step.message)

    if bare:
        return describe(bases.derive(kit, name, bare, Platform(system, arch), say))
    if image:
        return describe(bases.copy(kit, name, image, Platform(system, arch)))
    if suite:
        check_platform(Platform(system, arch))
        made = debian(
            kit.store,
            f"kitbag/base/{name}",
            suite=suite,
            cache=kit.settings.cache_root / "bases",
            report=report,
            name=name,
        )
        return describe(bases.remember(kit, made))
    return describe(bases.make_auto(kit, None, Platform(system, arch), report, name=name))


def every() -> list[dict[str, Any]]:
    """The current base of each name."""
    with reading(services().engine) as session:
        return [describe(Base.from_json(row.record)) for row in table.every(session)]


def get(name: str) -> dict[str, Any]:
    """One base; raises BaseNotFoundError."""
    with reading(services().engine) as session:
        return describe(Base.from_json(table.get(session, name).record))


def describe(base: Base) -> dict[str, Any]:
    """What a person wants to know of a base."""
    return {
        "name": base.name,
        "image": base.image,
        "source": base.source,
        "platform": str(base.platform),
        "python": base.python.version,
        "glibc": ".".join(map(str, base.glibc)) if base.glibc else None,
        "cuda": base.cuda,
        "user": base.user or "root",
        "layers": len(base.layers),
        "size_bytes": base.size_bytes,
    }
