"""The base for those who name none: an official Python image, or else Debian made on the spot."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from builder.bases.debian import check_platform, debian
from builder.bases.reference import parse_reference
from builder.bases.registry import from_registry
from builder.errors import BaseNotFoundError, StoreRefusedError, StoreUnreachableError
from builder.model import Base, Platform, Step
from builder.source import HostPolicy
from builder.stores.open import open_store
from builder.stores.protocol import Store

DEFAULT_IMAGE = "docker.io/library/python:{python}-slim"
"""A setting of the operator's; `{python}` is replaced by the minor version, such as 3.11."""

DEFAULT_PYTHON = "3.11"

SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""The release of Debian that brings a Python."""

AWAY_S = 120
"""For so long a registry that did not answer is not asked again: its time-out was waited for."""

Opener = Callable[[str, float], Store]
"""Opens the registry of a host, every operation of which ends after so many seconds."""


def open_registry(
    host: str,
    deadline_s: float,
    ca_bundle: Path | None = None,
    policy: HostPolicy | None = None,
) -> Store:
    """The registry with the credentials of the Docker config; HTTP for this machine's own.

    `policy` says what may be connected to where a user names the registry.
    """
    return open_store(
        f"registry://{host}",
        timeout_s=min(60, deadline_s),
        deadline_s=deadline_s,
        ca_bundle=ca_bundle,
        policy=policy,
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

    Which it is and why is reported. A registry that did not answer is not asked again for AWAY_S,
    by no process that shares the `cache` folder. Raises BaseNotFoundError if the registry is out
    of reach and Debian has no such Python, and what `from_registry` and `debian` raise.
    """
    wanted = parse_reference(image.replace("{python}", python))
    away = _Away(cache, wanted.host)
    try:
        away.check()
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
    except _StillAwayError as error:
        why = f"{wanted.host} did not answer {error.ago_s:.0f} s ago"
    except StoreUnreachableError:
        away.remember()
        why = f"{wanted.host} does not answer"
    except StoreRefusedError as error:
        why = error.detail
    suite = SUITES.get(python)
    if suite is None:
        raise BaseNotFoundError(
            f"No base has Python {python}: {why}, and Debian brings {' or '.join(SUITES)} only; "
            "choose one of those or name an image of a registry that can be reached."
        )
    try:
        check_platform(platform)
    except BaseNotFoundError as error:
        raise BaseNotFoundError(f"No base for {platform}: {why}. {error.detail}") from error
    _say(report, f"Base: Debian {suite} made on this machine, since {why.rstrip('.')}.")
    return debian(store, repo, suite=suite, cache=cache, report=report, name=name)


class _StillAwayError(Exception):
    def __init__(self, ago_s: float) -> None:
        super().__init__(ago_s)
        self.ago_s = ago_s


class _Away:
    """A file whose time says when a registry last did not answer."""

    def __init__(self, cache: Path, host: str) -> None:
        self._file = cache / f"away-{re.sub(r'[^a-z0-9.-]', '_', host.lower())}"

    def check(self) -> None:
        """Raise _StillAwayError if that was a moment ago, by a clock that wasn't set back since."""
        with suppress(OSError):
            ago_s = time.time() - self._file.stat().st_mtime
            if 0 <= ago_s < AWAY_S:
                raise _StillAwayError(ago_s)

    def remember(self) -> None:
        """Note that it is away now; a folder that can't be written only costs the next one time."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()


def _checked(base: Base, python: str) -> Base:
    if base.python.minor != python:
        raise BaseNotFoundError(
            f"{base.source} brings Python {base.python.minor}, not {python}; "
            "correct the setting that names the default base image."
        )
    return base


def _say(report: Callable[[Step], None], message: str) -> None:
    report(Step("log", "base", message))
