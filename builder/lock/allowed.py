"""Where a source may send the worker: indexes and wheels of its own choice."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from builder.detect import Requirements
from builder.errors import InvalidSpecError
from builder.lock.model import UvSettings
from builder.model import LockedWheel
from builder.secrets import origin_of, without_user


def chosen_urls(wanted: Requirements, settings: UvSettings) -> tuple[str, ...]:
    """The URLs of indexes and wheels that the source names and the operator's settings do not."""
    urls = [*wanted.extra_index_urls, *wanted.find_links, *wanted.package_indexes.values()]
    if wanted.index_url is not None:
        urls.append(wanted.index_url)
    for each in (*wanted.asked, *wanted.constraints, *wanted.overrides):
        url = Requirement(each.text).url
        if url is not None:
            urls.append(url)
    own = {without_user(url) for url in (settings.index_url, *settings.extra_index_urls) if url}
    return tuple(url for url in urls if without_user(url) not in own)


def check_asked(wanted: Requirements, settings: UvSettings) -> bool:
    """Whether the source names URLs of its own; raises InvalidSpecError where it may not."""
    urls = chosen_urls(wanted, settings)
    if urls and not settings.user_indexes:
        raise InvalidSpecError(
            "This server resolves from its own package index only; remove index options and URLs "
            f"from {wanted.files[0] if wanted.files else 'the requirements'}."
        )
    for url in urls:
        settings.secrets.check(url)
    known = settings.own_origins
    for host in sorted(
        {urlsplit(url).hostname or "" for url in urls if origin_of(url) not in known}
    ):
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
    known = settings.secrets.origins
    hosts = {
        urlsplit(each.url).hostname or "" for each in wheels if origin_of(each.url) not in known
    }
    for host in sorted(hosts - own):
        settings.hosts.check(host, InvalidSpecError)
