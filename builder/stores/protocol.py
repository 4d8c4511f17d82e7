"""What a build needs of a place that holds images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from builder.model import Descriptor

DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"


@dataclass(frozen=True, slots=True)
class Put:
    """What putting a blob took: `moved_bytes` is 0 when it was there already or mounted."""

    descriptor: Descriptor
    moved_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as stored: the exact bytes, since the digest is over them."""

    media_type: str
    digest: str
    data: bytes


class Store(Protocol):
    """One registry or layout; `repo` is a repository path such as `hep/3dgan`, without host or tag.

    Every method may raise StoreRefusedError (the answer is no; don't retry) or
    StoreUnreachableError (after the store's own retries); a layout raises DiskFullError. All are
    safe to call from several threads, and putting what is already there changes nothing.
    """

    @property
    def name(self) -> str:
        """What identifies this store in the layer index, such as its host and port."""

    def reference(self, repo: str, digest: str) -> str:
        """The pullable name HOST[/PREFIX]/REPO@DIGEST."""

    def missing(self, repo: str, digests: Iterable[str]) -> set[str]:
        """Those of the digests that the repository does not hold; asked in parallel."""

    def put_blob(
        self,
        repo: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: str | None = None,
    ) -> Put:
        """Hold the blob, verified against its digest; a mount from another repository comes first.

        `open_blob` may be called more than once, and only when bytes must move.
        """

    def blob(self, repo: str, digest: str) -> Iterator[bytes]:
        """The blob in chunks of at most 1 MiB, verified before the last one is given.

        Asking for the first chunk raises FileNotFoundError if the blob isn't held.
        """

    def put_manifest(self, repo: str, manifest: Manifest, *, tags: Iterable[str] = ()) -> None:
        """Publish a manifest whose blobs are all held, under its digest and the tags.

        Raises BlobsLostError if some aren't after all; then `put_blob` puts those anew, whatever
        the store says of them.
        """

    def manifest(self, repo: str, reference: str) -> Manifest | None:
        """The manifest of a tag or digest, or None if there is none."""

    def delete(self, repo: str, digests: Iterable[str]) -> set[str]:
        """Forget manifests of the repository, each with all its tags; those that were there.

        Other repositories keep theirs, and the images that an index names stay until they are
        deleted too. A layout removes the blobs that no manifest refers to any more; a registry's
        own collector does that. Raises NoDeletesError where nothing is deleted for anybody.
        """
