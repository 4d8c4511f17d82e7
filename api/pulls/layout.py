"""Read an OCI image layout: who is named in its index, and where its blobs lie.

Entries of index.json carry the annotation `org.opencontainers.image.ref.name` as `REPO:TAG` or
`REPO@sha256:<hex>` (see builder.stores.layout, which writes it).
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from catalog.scope import Scope

REF_NAME = "org.opencontainers.image.ref.name"
MAX_INDEX_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 4 << 20

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_REPO = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_MAX_REPO_CHARS = 255
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_MANIFEST_TYPES = frozenset(
    {
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest on disk: its exact bytes are in the file at `path`."""

    media_type: str
    digest: str
    path: Path


@dataclass(slots=True)
class _Repo:
    tags: dict[str, str] = field(default_factory=dict)
    media_types: dict[str, str] = field(default_factory=dict)


class Layout:
    """The layout at `root`, read again when its index changed; safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._repos: Mapping[str, _Repo] = {}

    def tags(self, repo: str) -> list[str] | None:
        """The repository's tags in order; None if there is no such repository."""
        found = self._named().get(repo)
        return None if found is None else sorted(found.tags)

    def manifest(self, repo: str, reference: str) -> StoredManifest | None:
        """The manifest of a tag or digest; None if the repository has none."""
        found = self._named().get(repo)
        if found is None:
            return None
        digest = reference if _DIGEST.fullmatch(reference) else found.tags.get(reference, "")
        path = self._path(digest)
        if path is None or not self._has(found, digest):
            return None
        media_type = found.media_types.get(digest) or _child_type(path)
        return None if media_type is None else StoredManifest(media_type, digest, path)

    def blob(self, repo: str, digest: str) -> Path | None:
        """The file of a blob; None if no image of the repository has it, whoever else's does."""
        found, path = self._named().get(repo), self._path(digest)
        return path if found is not None and path is not None and self._has(found, digest) else None

    def _has(self, repo: _Repo, digest: str) -> bool:
        """Whether a manifest of the repository is the digest or names it, the newest looked at
        first."""
        if digest in repo.media_types:
            return True
        return any(self._names(own, digest) for own in reversed(repo.media_types))

    def _names(self, manifest: str, digest: str) -> bool:
        path = self._path(manifest)
        blobs, manifests = _named_in(path) if path is not None else (frozenset(), ())
        return digest in blobs or any(self._names(inner, digest) for inner in manifests)

    def _path(self, digest: str) -> Path | None:
        # The digest comes from a URL or a file: only its exact form may become part of a path.
        if not _DIGEST.fullmatch(digest):
            return None
        path = self._root / "blobs" / "sha256" / digest.removeprefix("sha256:")
        return path if path.is_file() else None

    def _named(self) -> Mapping[str, _Repo]:
        index = self._root / "index.json"
        try:
            with index.open("rb") as stream:
                status = os.fstat(stream.fileno())
                stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
                with self._lock:
                    if stamp != self._stamp:
                        self._repos = _read(stream.read(MAX_INDEX_BYTES + 1), index)
                        self._stamp = stamp
                    return self._repos
        except FileNotFoundError:
            return {}


@dataclass(frozen=True, slots=True)
class Seen:
    """A layout as somebody sees it: what is in a namespace outside of their scope isn't there."""

    layout: Layout
    scope: Scope

    def tags(self, repo: str) -> list[str] | None:
        """As `Layout.tags`."""
        return self.layout.tags(repo) if self._holds(repo) else None

    def manifest(self, repo: str, reference: str) -> StoredManifest | None:
        """As `Layout.manifest`."""
        return self.layout.manifest(repo, reference) if self._holds(repo) else None

    def blob(self, repo: str, digest: str) -> Path | None:
        """As `Layout.blob`."""
        return self.layout.blob(repo, digest) if self._holds(repo) else None

    def _holds(self, repo: str) -> bool:
        return self.scope.holds(repo.partition("/")[0])


def _read(data: bytes, index: Path) -> Mapping[str, _Repo]:
    if len(data) > MAX_INDEX_BYTES:
        raise ValueError(f"{index} is over {MAX_INDEX_BYTES} bytes.")
    repos: dict[str, _Repo] = {}
    for entry in json.loads(data)["manifests"]:
        name = str((entry.get("annotations") or {}).get(REF_NAME, ""))
        repo, separator, reference = _split(name)
        digest = str(entry.get("digest"))
        if not separator or len(repo) > _MAX_REPO_CHARS or not _REPO.fullmatch(repo):
            continue
        found = repos.setdefault(repo, _Repo())
        found.media_types[digest] = str(entry.get("mediaType"))
        if separator == ":" and _TAG.fullmatch(reference):
            found.tags[reference] = digest
    return repos


def _split(name: str) -> tuple[str, str, str]:
    return name.partition("@") if "@" in name else name.rpartition(":")


@lru_cache(maxsize=1000)
def _named_in(manifest: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """The blobs and the manifests that a manifest or an index names, these last also among the
    first. Its path has its digest, so that it never changes."""
    with manifest.open("rb") as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    try:
        parsed: Any = json.loads(data) if len(data) <= MAX_MANIFEST_BYTES else None
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        return frozenset(), ()
    inner = tuple(str(each.get("digest")) for each in parsed.get("manifests") or ())
    own = [*(parsed.get("layers") or ()), parsed.get("config") or {}, parsed.get("subject") or {}]
    return frozenset([*inner, *(str(each.get("digest")) for each in own)]), inner


def _child_type(path: Path) -> str | None:
    """The media type of a manifest that only an index of the same repository names."""
    with path.open("rb") as stream:
        data = stream.read(MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        return None
    try:
        parsed: Any = json.loads(data)
    except ValueError:
        return None
    media_type = parsed.get("mediaType") if isinstance(parsed, dict) else None
    return media_type if media_type in _MANIFEST_TYPES else None
