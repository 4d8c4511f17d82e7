"""Where a source may send the worker: indexes and wheels of its own choice."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from builder.detect import Requirements
from builder.errors import InvalidSpecError
from builder.lock.model import UvSettings
from builder.model import LockedWheel


def chosen_urls(wanted: Requirements, settings: UvSettings) -> tuple[str, ...]:
    """The URLs of indexes and wheels that the source names and the operator's settings do not."""
    urls = [*wanted.extra_index_urls, *wanted.find_links, *wanted.package_indexes.values()]
    if wanted.index_url is not None:
        urls.append(wanted.index_url)
    for each in (*wanted.asked, *wanted.constraints, *wanted.overrides):
        url = Requirement(each.text).url
        if url is not None:
            urls.append(url)
    own = {settings.index_url, *settings.extra_index_urls}
    return tuple(url for url in urls if url not in own)


def check_asked(wanted: Requirements, settings: UvSettings) -> bool:
    """Whether the source names URLs of its own; raises InvalidSpecError where it may not."""
    urls = chosen_urls(wanted, settings)
    if urls and not settings.user_indexes:
        raise InvalidSpecError(
            "This server resolves from its own package index only; remove index options and URLs "
            f"from {wanted.files[0] if wanted.files else 'the requirements'}."
        )
    for host in sorted({urlsplit(url).hostname or "" for url in urls}):
        settings.hosts.check(host, InvalidSpecError)
    return bool(urls)


def check_locked(wheels: Iterable[LockedWheel], settings: UvSettings) -> None:
    """Refuse wheels on hosts that a source chose and `settings.hosts` does not allow.

    What a source's own index or lock points to is fetched later, from the worker's network.
    """
    own = {
        urlsplit(url).hostname
        for url in (settings.index_url, *settings.extra_index_urls)
        if url is not None
    }
    for host in sorted({urlsplit(wheel.url).hostname or "" for wheel in wheels} - own):
        settings.hosts.check(host, InvalidSpecError)
