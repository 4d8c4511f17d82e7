"""A store whose every operation is a span of the build that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from builder.model import Descriptor
from builder.stores.protocol import Manifest, Put, Store
from telemetry import tracing


class TracedStore:
    """The same store, below what is current where this is made: threads of a pool know no parent.

    What a blob is read for is a span of its own only until the first chunk is there.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._within = tracing.held()

    @property
    def name(self) -> str:
        return self._store.name

    def reference(self, repo: str, digest: str) -> str:
        return self._store.reference(repo, digest)

    def missing(self, repo: str, digests: Iterable[str]) -> set[str]:
        wanted = list(digests)
        with self._span("missing", repo, {"kitbag.blobs": len(wanted)}):
            return self._store.missing(repo, wanted)

    def put_blob(
        self,
        repo: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: str | None = None,
    ) -> Put:
        with self._span("put_blob", repo, {"kitbag.digest": descriptor.digest}) as span:
            put = self._store.put_blob(repo, descriptor, open_blob, mount_from=mount_from)
            if span is not None:
                span.set_attribute("kitbag.moved_bytes", put.moved_bytes)
            return put

    def blob(self, repo: str, digest: str) -> Iterator[bytes]:
        with self._span("blob", repo, {"kitbag.digest": digest}):
            chunks = self._store.blob(repo, digest)
            first = next(chunks, None)
        if first is not None:
            yield first
            yield from chunks

    def put_manifest(self, repo: str, manifest: Manifest, *, tags: Iterable[str] = ()) -> None:
        with self._span("put_manifest", repo, {"kitbag.digest": manifest.digest}):
            self._store.put_manifest(repo, manifest, tags=tags)

    def manifest(self, repo: str, reference: str) -> Manifest | None:
        with self._span("manifest", repo, {"kitbag.reference": reference}):
            return self._store.manifest(repo, reference)

    def delete(self, repo: str, digests: Iterable[str]) -> set[str]:
        with self._span("delete", repo):
            return self._store.delete(repo, digests)

    def _span(
        self, operation: str, repo: str, about: Mapping[str, tracing.Value] | None = None
    ) -> AbstractContextManager[Any]:
        attributes = {"kitbag.store": self._store.name, "kitbag.repository": repo}
        return tracing.span(
            f"registry {operation}",
            {**attributes, **(about or {})},
            within=self._within,
            kind="client",
        )


def traced(store: Store) -> Store:
    """The store, told of where traces are on."""
    return TracedStore(store) if tracing.is_on() else store
