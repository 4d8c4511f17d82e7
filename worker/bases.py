"""Finds the base that a request means, and makes one when the name is new."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from builder.bases.auto import DEFAULT_PYTHON, auto, open_registry
from builder.bases.derive import derive as derived
from builder.bases.derive import needed
from builder.bases.reference import parse_reference
from builder.bases.registry import from_registry
from builder.errors import BaseNotFoundError
from builder.model import Base, Platform, Step
from catalog import bases
from catalog.engine import reading, writing
from worker import containers
from worker.aside import aside
from worker.patience import patiently
from worker.services import Services

Say = Callable[[str], None]
AUTO = "auto"
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.10")
"""What `auto` chooses from for a source that only says which versions it can do with."""
_PYTHON = re.compile(r"3\.\d{1,2}")


def find(
    services: Services,
    name: str,
    python: str | None,
    platform: Platform,
    report: Callable[[Step], None],
    check: Callable[[], None] = lambda: None,
) -> Base:
    """The base of that name with that Python (3.11; None for the base's own choice).

    A name that isn't in the catalog may be an image reference, which is copied into the store.
    `auto` means the catalog's base of that name if its Python fits, any other that fits, or a new
    one. `check` is called while a base is made and may raise to stop waiting for it. Raises
    BaseNotFoundError and what the making of a base raises.
    """
    minor = ".".join(python.split(".")[:2]) if python else None
    if minor and not _PYTHON.fullmatch(minor):
        raise BaseNotFoundError(f"'{python}' is no Python version; give one such as 3.11.")
    known = patiently(lambda: _known(services), check=check)
    named = [item for item in known if item.name == name]
    base = next((item for item in named if item.platform == platform), None)
    if base and (minor is None or base.python.minor == minor):
        return base
    if name == AUTO:
        fitting = [
            item
            for item in known
            if item.python.minor == (minor or DEFAULT_PYTHON)
            and item.platform == platform
            and item.cuda is None
        ]
        if fitting:
            return fitting[0]
        # Once begun it goes on, also when this build is stopped: the next one needs it too.
        return aside(lambda: make_auto(services, minor, platform, report), check)
    if base is not None:
        raise BaseNotFoundError(
            f"The base {name!r} has Python {base.python.version} on {base.platform}; "
            f"ask for that, or for another base than this for Python {minor} on {platform}."
        )
    if "/" not in name and ":" not in name and named:
        have = " and ".join(str(item.platform) for item in named)
        raise BaseNotFoundError(
            f"The base {name!r} is for {have}, not for {platform}; add it for that: "
            f"kitbag-server base add {name} --image IMAGE --platform {platform}."
        )
    if "/" not in name and ":" not in name:
        raise BaseNotFoundError(
            f"There is no base {name!r}; see `kitbag-server base ls`, or give an image reference."
        )
    return aside(lambda: copy(services, name, name, platform), check)


def python_for(requires_python: str | None) -> str | None:
    """The first of PYTHONS that a specifier such as `>=3.12` allows, None if any will do.

    None as well if it allows none of them: what locks says so, with the file.
    """
    if requires_python is None:
        return None
    try:
        allowed = SpecifierSet(requires_python)
    except InvalidSpecifier:
        return None
    # Any patch release may be the base's: 3.12 counts as the newest of its minor version.
    return next((minor for minor in PYTHONS if allowed.contains(f"{minor}.99")), None)


def _known(services: Services) -> list[Base]:
    with reading(services.engine) as session:
        return [Base.from_json(row.record) for row in bases.every(session)]


def make_auto(
    services: Services,
    python: str | None,
    platform: Platform,
    report: Callable[[Step], None],
    *,
    name: str | None = None,
) -> Base:
    """Make the default base for a Python and remember it, as `auto` unless it is another Python."""
    python = python or DEFAULT_PYTHON
    name = name or (AUTO if python == DEFAULT_PYTHON else f"{AUTO}-{python}")
    base = auto(
        services.store,
        f"kitbag/base/{name}",
        python=python,
        image=services.settings.base_image,
        name=name,
        platform=platform,
        cache=services.settings.cache_root / "bases",
        report=report,
        opener=partial(open_registry, ca_bundle=services.settings.ca_bundle),
    )
    return remember(services, base)


def copy(services: Services, name: str, image: str, platform: Platform) -> Base:
    """Copy an image of any registry into the store and remember it as a base."""
    wanted = parse_reference(image)
    services.hosts.check(wanted.host.partition(":")[0], BaseNotFoundError)
    source = open_registry(wanted.host, 3600, services.settings.ca_bundle, services.hosts)
    repo = "kitbag/base/" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    place = (services.store, repo)
    try:
        base = from_registry(
            source, wanted.repo, wanted.reference, *place, name=name, platform=platform
        )
    except BaseNotFoundError as error:  # it names the copy, which nobody asked for
        detail = re.sub(rf"{repo}@sha256:[0-9a-f]+", image, error.detail)
        raise BaseNotFoundError(detail, **error.extra) from error
    return remember(services, base)


def derive(services: Services, name: str, image: str, platform: Platform, say: Say) -> Base:
    """Derive a base from an image of any registry by the container engine, and remember it."""
    engine = needed(services.containers)
    wanted = parse_reference(image)
    services.hosts.check(wanted.host.partition(":")[0], BaseNotFoundError)
    source = open_registry(wanted.host, 3600, services.settings.ca_bundle, services.hosts)
    repo = "kitbag/base/" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    base = derived(
        *(engine, source, wanted.repo, wanted.reference, services.store, repo),
        name=name,
        platform=platform,
        build=containers.aside_id(),
        limits=services.engine_limits,
        ca_bundle=services.settings.ca_bundle,
        log=say,
    )
    return remember(services, base)


def remember(services: Services, base: Base) -> Base:
    """Make this what the base's name means from now on."""

    def add() -> None:
        with writing(services.engine) as session:
            bases.add(
                session, name=base.name, digest=base.digest, image=base.image, record=base.to_json()
            )

    patiently(add)
    return base
