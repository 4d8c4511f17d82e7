"""A store that is an OCI image layout on disk (image-spec v1.1, "OCI Image Layout").

On disk, below the root, for every repository of the store:

* `oci-layout`: `{"imageLayoutVersion": "1.0.0"}`.
* `blobs/sha256/<hex>`: every layer, config and manifest, shared by all repositories, read-only.
* `index.json`: what is published. Each manifest has an entry whose annotation
  `org.opencontainers.image.ref.name` is `REPO@sha256:<hex>`, and one more, `REPO:TAG`, a tag.
  A tag that moves keeps the `REPO@…` entry of what it named, so that a digest stays found for ever.
  A manifest belongs to a repository if any entry of that repository names its digest; so layouts
  that other tools wrote, with `REPO:TAG` alone, are read too. `delete` alone takes entries away.
* `ingest/`: files that are being written, each locked by its writer; `.lock`: held while
  `index.json` changes.

A reader needs no lock: files only ever appear whole, by a rename. Each blob is fsynced before its
rename, then the folder, then `index.json` likewise: after a power cut every blob that is there is
whole and every manifest that is named has its blobs. (A hundred fsyncs cost 0.2 s.)

Blobs go while the lock is held, and under the same lock a manifest is published only if its blobs
are all there: so whoever counted on a blob that went is told, and puts it again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from builder.errors import (
    BlobsLostError,
    BuildError,
    StoreRefusedError,
    StoreUnreachableError,
)
from builder.model import INDEX_TYPE, MANIFEST_TYPE, Descriptor
from builder.stores.ingest import Ingest, disk_errors
from builder.stores.names import (
    check_digest,
    check_reference,
    check_repo,
    check_tag,
    digest_of,
    is_digest,
)
from builder.stores.parse import needs, parse_object
from builder.stores.protocol import Manifest, Put

REF_NAME = "org.opencontainers.image.ref.name"
READ_BYTES = 1 << 20
MAX_INDEX_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 4 << 20
LOCK_TIMEOUT_S = 60.0

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class LayoutStore:
    """Images of many repositories in the layout at `root`, which is made if it isn't there.

    `name` is how the layer index knows it; `host` is where the layout is served to be pulled from,
    empty for references that `skopeo` understands (`oci:ROOT:REPO@DIGEST`). Threads and processes
    may share a layout; DiskFullError when there is no space, with nothing half-written left.
    `elsewhere` are digests that count as held though their bytes aren't here.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str = "layout",
        host: str = "",
        elsewhere: frozenset[str] = frozenset(),
    ) -> None:
        self._root = root
        self._name = name
        self._host = host
        self._elsewhere = elsewhere
        self._index = root / "index.json"
        with disk_errors(root):
            self._ingest = Ingest(root)
            if not (root / "oci-layout").exists():
                self._ingest.replace(root / "oci-layout", _LAYOUT)
            if not self._index.exists():
                with self._locked():
                    if not self._index.exists():
                        self._write([])

    @property
    def name(self) -> str:
        return self._name

    @property
    def root(self) -> Path:
        """The folder of the layout."""
        return self._root

    def reference(self, repo: str, digest: str) -> str:
        named = f"{check_repo(repo)}@{check_digest(digest)}"
        return f"{self._host}/{named}" if self._host else f"oci:{self._root}:{named}"

    def missing(self, repo: str, digests: Iterable[str]) -> set[str]:
        check_repo(repo)
        wanted = set(digests) - self._elsewhere
        return {digest for digest in wanted if not self._ingest.path(digest).exists()}

    def put_blob(
        self,
        repo: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: str | None = None,  # noqa: ARG002  # all repositories share their blobs
    ) -> Put:
        check_repo(repo)
        with disk_errors(self._root):
            return Put(descriptor, self._ingest.blob(descriptor, open_blob))

    def blob(self, repo: str, digest: str) -> Iterator[bytes]:
        check_repo(repo)
        return self._ingest.read(digest)

    def put_manifest(self, repo: str, manifest: Manifest, *, tags: Iterable[str] = ()) -> None:
        check_repo(repo)
        if digest_of(manifest.data) != manifest.digest:
            raise ValueError(f"the manifest's bytes do not hash to {manifest.digest}")
        names = [f"{repo}@{manifest.digest}", *(f"{repo}:{check_tag(tag)}" for tag in tags)]
        descriptor = Descriptor(manifest.media_type, manifest.digest, len(manifest.data))
        with disk_errors(self._root):
            self._ingest.data(descriptor, manifest.data)
            self._ingest.sync()
            with self._locked():
                # Somebody may have deleted the same manifest since.
                if self._ingest.data(descriptor, manifest.data):
                    self._ingest.sync()
                lost = self.missing(repo, needs(manifest.data))
                if lost:
                    raise BlobsLostError(
                        f"{self._root} lost {len(lost)} blobs of the image: build it again",
                        frozenset(lost),
                    )
                self._publish(descriptor, names)

    def manifest(self, repo: str, reference: str) -> Manifest | None:
        check_repo(repo)
        check_reference(reference)
        entry = _find(self._entries(), repo, reference)
        if entry is None:
            return None
        digest = check_digest(str(entry.get("digest")))
        try:
            with self._ingest.path(digest).open("rb") as stream:
                data = stream.read(MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            return None
        if digest_of(data) != digest:
            raise BuildError(
                f"The manifest {digest} in {self._root} is damaged: delete that file and build "
                "again"
            )
        return Manifest(str(entry.get("mediaType") or MANIFEST_TYPE), digest, data)

    def delete(self, repo: str, digests: Iterable[str]) -> set[str]:
        check_repo(repo)
        wanted = {check_digest(digest) for digest in digests}
        with disk_errors(self._root), self._locked():
            before = self._entries()
            gone = [
                entry
                for entry in before
                if entry.get("digest") in wanted and _is_of(repo, _ref_name(entry))
            ]
            if gone:
                kept = [entry for entry in before if entry not in gone]
                self._write(kept)
                self._ingest.remove(self._reached(gone) - self._reached(kept))
        return {str(entry["digest"]) for entry in gone}

    def _reached(self, entries: list[dict[str, Any]]) -> set[str]:
        """The digests of all manifests and blobs that these entries lead to, and maybe a few more.

        Whatever a manifest mentions counts, so that no blob goes which some tool still looks for.
        """
        reached: set[str] = set()
        left = [str(entry.get("digest")) for entry in entries]
        while left:
            digest = left.pop()
            if digest in reached or not is_digest(digest):
                continue
            reached.add(digest)
            data = self._ingest.small(digest, MAX_MANIFEST_BYTES) or b""
            mentioned = [each.decode() for each in _DIGEST.findall(data)]
            if b'"manifests"' in data:
                left += mentioned
            else:
                reached.update(mentioned)
        return reached

    def _publish(self, descriptor: Descriptor, names: list[str]) -> None:
        """Name a manifest; entries of other tools stay as they are, whatever they hold."""
        before = self._entries()
        kept = [entry for entry in before if _ref_name(entry) not in names]
        made = [descriptor.as_oci() | {"annotations": {REF_NAME: name}} for name in names]
        if all(entry in before for entry in made):
            return
        self._write([*kept, *made])

    def _write(self, entries: list[dict[str, Any]]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
        self._ingest.replace(self._index, json.dumps(index, separators=(",", ":")).encode())

    def _entries(self) -> list[dict[str, Any]]:
        try:
            with self._index.open("rb") as stream:
                # Not read(limit): that much memory would be set aside whatever the file's size.
                large = os.fstat(stream.fileno()).st_size > MAX_INDEX_BYTES
                data = b"" if large else stream.read()
        except FileNotFoundError:
            return []
        try:
            entries = None if large else parse_object(data)["manifests"]
        except (ValueError, KeyError):
            entries = None
        if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
            raise StoreRefusedError(
                f"{self._index} is no index of an OCI layout: repair it, or name another folder"
            )
        return entries

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the layout's lock, which ends with the process that has it.

        flock and not lockf: the latter would let two threads of one process in.
        """
        ends = time.monotonic() + LOCK_TIMEOUT_S
        with (self._root / ".lock").open("ab") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > ends:
                        raise StoreUnreachableError(
                            f"Another process holds the lock of {self._root} for over "
                            f"{LOCK_TIMEOUT_S:g} s: end it, then try again"
                        ) from None
                    time.sleep(0.005)
            yield


def _find(entries: list[dict[str, Any]], repo: str, reference: str) -> dict[str, Any] | None:
    """The entry of a tag, or any entry of the repository with that digest."""
    for entry in entries:
        name = _ref_name(entry)
        if name == f"{repo}:{reference}" or (
            entry.get("digest") == reference and _is_of(repo, name)
        ):
            return entry
    return None


def _is_of(repo: str, name: str) -> bool:
    return name.startswith((f"{repo}:", f"{repo}@"))


def _ref_name(entry: dict[str, Any]) -> str:
    annotations = entry.get("annotations")
    return str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""
