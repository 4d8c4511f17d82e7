"""What is installed in an environment, read from its folders without importing anything."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kitbag.errors import KitbagError

# https://packaging.python.org/specifications/recording-installed-packages: NAME-VERSION.dist-info.
_FOLDER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-]+)\.dist-info")
_MAX_JSON_BYTES = 1024 * 1024


class Origin(enum.Enum):
    """Where a package came from; all but INDEX and CONDA by its direct_url.json (PEP 610)."""

    INDEX = "index"
    ARCHIVE = "archive"
    REPOSITORY = "repository"
    FOLDER = "folder"
    EDITABLE = "editable"
    CONDA = "conda"


@dataclass(frozen=True)
class Installed:
    """One package; `url` is a URL, or a requirement's `git+URL@COMMIT`, or a folder's path.

    `info` is its .dist-info folder.
    """

    name: str
    version: str
    info: Path
    origin: Origin = Origin.INDEX
    url: str | None = None


def installed(site: Path) -> dict[str, Installed]:
    """The packages of a site-packages folder by normalized name; KitbagError if there is none."""
    try:
        folders = sorted(path for path in site.iterdir() if path.name.endswith(".dist-info"))
    except OSError as error:
        raise KitbagError(f"{site} can't be read: {error.strerror}") from error
    found = (_read(path) for path in folders)
    return {item.name: item for item in found if item is not None}


def normalized(name: str) -> str:
    """The name by which two spellings are one package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def conda_packages(prefix: Path) -> tuple[str, ...]:
    """What conda put into a prefix, `NAME VERSION` each; nothing where it didn't."""
    return tuple(sorted(_conda(prefix)))


def _conda(prefix: Path) -> Iterator[str]:
    try:
        records = sorted((prefix / "conda-meta").glob("*.json"))
    except OSError:
        return
    for record in records:
        data = _json(record)
        if isinstance(data.get("name"), str):
            yield f"{data['name']} {data.get('version', '')}".strip()


def _read(info: Path) -> Installed | None:
    match = _FOLDER.fullmatch(info.name)
    if match:
        name, version = match["name"], match["version"]
    else:
        # Names that older installers wrote as they came.
        metadata = Distribution.at(info).metadata
        name, version = metadata["Name"], metadata["Version"]
        if not name or not version:
            return None
    origin, url = _origin(info)
    return Installed(normalized(name), version, info, origin, url)


def _origin(info: Path) -> tuple[Origin, str | None]:
    # Packages of conda-forge have the direct_url.json of the machine that they were built on.
    if _installer(info) == "conda":
        return Origin.CONDA, None
    data = _json(info / "direct_url.json")
    url = data.get("url")
    if not isinstance(url, str):
        return Origin.INDEX, None
    vcs, folder, archive = (data.get(f"{kind}_info") for kind in ("vcs", "dir", "archive"))
    subdirectory = data.get("subdirectory")
    below = f"#subdirectory={subdirectory}" if isinstance(subdirectory, str) else ""
    if isinstance(vcs, Mapping):
        return Origin.REPOSITORY, f"{vcs.get('vcs')}+{url}@{vcs.get('commit_id')}{below}"
    if isinstance(folder, Mapping):
        path = unquote(urlsplit(url).path)
        return (Origin.EDITABLE if folder.get("editable") is True else Origin.FOLDER), path
    if isinstance(archive, Mapping) and url.startswith("file:"):
        return Origin.FOLDER, unquote(urlsplit(url).path)
    return Origin.ARCHIVE, url + below


def _installer(info: Path) -> str:
    try:
        return (info / "INSTALLER").read_text()[:100].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _json(path: Path) -> Mapping[str, Any]:
    """A JSON object; an empty one for a file that is missing or no such thing."""
    try:
        with path.open("rb") as stream:
            data = json.loads(stream.read(_MAX_JSON_BYTES))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
