"""The base for those who name none: an official Python image, or else Debian made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builder.bases.debian import debian
from builder.bases.reference import parse_reference
from builder.bases.registry import from_registry
from builder.errors import BaseNotFoundError, StoreRefusedError, StoreUnreachableError
from builder.model import Base, Platform, Step
from builder.stores.open import open_store
from builder.stores.protocol import Store

DEFAULT_IMAGE = "docker.io/library/python:{python}-slim"
"""A setting of the operator's; `{python}` is replaced by the minor version, such as 3.11."""

DEFAULT_PYTHON = "3.11"

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""The release of Debian that brings a Python."""

Opener = Callable[[str, float], Store]
"""Opens the registry of a host, every operation of which ends after so many seconds."""


def open_registry(host: str, deadline_s: float, ca_bundle: Path | None = None) -> Store:
    """The registry with the credentials of the Docker config; HTTP for this machine's own."""
    return open_store(
        f"registry://{host}",
        timeout_s=min(60, deadline_s),
        deadline_s=deadline_s,
        ca_bundle=ca_bundle,
    )


def auto(
    store: Store,
    repo: str = "kitbag/base/auto",
    *,
    python: str = DEFAULT_PYTHON,
    image: str = DEFAULT_IMAGE,
    name: str = "auto",
    platform: Platform,
    cache: Path,
    report: Callable[[Step], None],
    opener: Opener = open_registry,
    patience_s: float = 2,
) -> Base:
    """The registry image if its registry answers within `patience_s`, else the Debian base.

    Which it is and why is reported. Raises BaseNotFoundError if the registry is out of reach and
    Debian has no such Python, and what `from_registry` and `debian` raise.
    """
    wanted = parse_reference(image.replace("{python}", python))
    try:
        found = opener(wanted.host, patience_s).manifest(wanted.repo, wanted.reference)
        if found is None:
            why = f"{wanted} does not exist"
        else:
            _say(report, f"Base: {wanted}, since {wanted.host} answers.")
            src = opener(wanted.host, 3600)
            base = from_registry(
                src, wanted.repo, wanted.reference, store, repo, name=name, platform=platform
            )
            return _checked(base, python)
    except StoreUnreachableError:
        why = f"{wanted.host} does not answer"
    except StoreRefusedError as error:
        why = error.detail
    suite = SUITES.get(python)
    if suite is None:
        raise BaseNotFoundError(
            f"No base has Python {python}: {why}, and Debian brings {' or '.join(SUITES)} only; "
            "choose one of those or name an image of a registry that can be reached."
        )
    _say(report, f"Base: Debian {suite} made on this machine, since {why.rstrip('.')}.")
    base = debian(store, repo, suite=suite, cache=cache, report=report, name=name)
    if base.platform != platform:
        raise BaseNotFoundError(
            f"The Debian base is made for this machine's {base.platform}, not {platform}; "
            "name a registry image for it."
        )
    return base


def _checked(base: Base, python: str) -> Base:
    if base.python.minor != python:
        raise BaseNotFoundError(
            f"{base.source} brings Python {base.python.minor}, not {python}; "
            "correct the setting that names the default base image."
        )
    return base


def _say(report: Callable[[Step], None], message: str) -> None:
    report(Step("log", "base", message))
