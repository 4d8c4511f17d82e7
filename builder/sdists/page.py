"""What an index has of a package, as far as source distributions go (PEP 503, PEP 691)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, parse_sdist_filename
from packaging.version import Version

from builder.model import LockedSdist

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
MAX_PAGE_BYTES = 64 << 20
_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Release:
    """A source distribution and its version."""

    version: Version
    sdist: LockedSdist


def newest(
    page: bytes, content_type: str, url: str, name: str, specifier: SpecifierSet, python: str
) -> Release | None:
    """The newest source distribution of the page that fits, None if there is none.

    `url` is the page's, after redirects; `name` is normalized; `python` is a full version. Files
    without a SHA-256, yanked ones and those for another Python are passed over, and so are
    pre-releases unless the specifier names one.
    """
    found = _files(page, content_type)
    fitting = [
        release
        for each in found
        if (release := _release(each, url, name, python)) is not None
        and specifier.contains(release.version, prereleases=bool(specifier.prereleases))
    ]
    return max(fitting, key=lambda release: release.version, default=None)


def _files(page: bytes, content_type: str) -> Iterator[Mapping[str, Any]]:
    if "json" not in content_type:
        parser = _Anchors()
        parser.feed(page.decode(errors="replace"))
        yield from parser.files
        return
    try:
        files = json.loads(page)["files"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    if isinstance(files, list):
        yield from (each for each in files[:_MAX_FILES] if isinstance(each, dict))


def _release(file: Mapping[str, Any], url: str, name: str, python: str) -> Release | None:
    filename = str(file.get("filename") or "")
    hashes = file.get("hashes")
    sha256 = str(hashes.get("sha256") or "") if isinstance(hashes, dict) else ""
    if file.get("yanked") or len(sha256) != 64 or not filename.endswith((".tar.gz", ".zip")):
        return None
    try:
        found, version = parse_sdist_filename(filename)
        wanted = SpecifierSet(str(file.get("requires-python") or ""))
    except (InvalidSdistFilename, InvalidSpecifier):
        return None
    if found != name or not wanted.contains(python, prereleases=True):
        return None
    place = urljoin(url, str(file.get("url") or "")).partition("#")[0]
    size = file.get("size")
    size_bytes = size if isinstance(size, int) and size > 0 else 0
    return Release(version, LockedSdist(filename, place, sha256, size_bytes))


class _Anchors(HTMLParser):
    """The files of an HTML page, as the JSON form would have them."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        href = known.get("href")
        if tag != "a" or not href or len(self.files) >= _MAX_FILES:
            return
        parts = urlsplit(href)
        self.files.append(
            {
                "filename": unquote(parts.path.rpartition("/")[2]),
                "url": href,
                "hashes": {"sha256": parts.fragment.removeprefix("sha256=")},
                "requires-python": known.get("data-requires-python"),
                "yanked": "data-yanked" in known,
            }
        )
