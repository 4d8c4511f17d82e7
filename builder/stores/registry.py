"""A store that is any registry of the OCI distribution specification."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from builder.errors import BlobsLostError, StoreRefusedError, StoreUnreachableError
from builder.model import INDEX_TYPE, MANIFEST_TYPE, Descriptor
from builder.source import HostPolicy
from builder.stores.challenge import delete, pull, push
from builder.stores.credentials import Anonymous, Credentials, Login
from builder.stores.exchange import Body
from builder.stores.names import (
    check_digest,
    check_host,
    check_reference,
    check_repo,
    check_tag,
    digest_of,
    is_digest,
    is_hub,
    is_loopback,
)
from builder.stores.parse import parse_object
from builder.stores.protocol import DOCKER_INDEX_TYPE, DOCKER_MANIFEST_TYPE, Manifest, Put
from builder.stores.pull import stream_blob
from builder.stores.push import HEAD_STATUSES, Upload
from builder.stores.transport import Transport

CHUNK_BYTES = 64 << 20
"""Blobs over this go in chunks: below the body limits of the usual proxies (100 MB)."""
MISSING_FOR_S = 60.0
"""How long the answer "not there" of `missing` saves `put_blob` the same question."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ACCEPT = ", ".join([INDEX_TYPE, MANIFEST_TYPE, DOCKER_INDEX_TYPE, DOCKER_MANIFEST_TYPE])


class RegistryStore:
    """Images in the registry at `host[:port]`, under `prefix/` if one is given.

    `plain_http` None means HTTP for this machine's own addresses and HTTPS for all others;
    `ca_bundle` adds certificate authorities. `timeout_s` is the longest silence, `deadline_s` the
    longest operation, `more_headers` what its requests carry beside, `policy` what may be connected
    to. Safe to share between threads; make a new one after a fork.
    """

    def __init__(
        self,
        host: str,
        *,
        prefix: str = "",
        credentials: Credentials | None = None,
        plain_http: bool | None = None,
        ca_bundle: Path | None = None,
        parallel: int = 8,
        timeout_s: float = 60,
        deadline_s: float = 3600,
        retries: int = 4,
        chunk_bytes: int = CHUNK_BYTES,
        more_headers: Callable[[], Mapping[str, str]] = dict,
        policy: HostPolicy | None = None,
    ) -> None:
        self._host = check_host(host)
        self._prefix = check_repo(prefix.strip("/")) if prefix.strip("/") else ""
        self._credentials = credentials or Anonymous()
        self._parallel = parallel
        self._chunk_bytes = chunk_bytes
        self._transport = Transport(
            host,
            self._login,
            plain_http=is_loopback(host) if plain_http is None else plain_http,
            ca_bundle=ca_bundle,
            connections=2 * parallel,
            timeout_s=timeout_s,
            deadline_s=deadline_s,
            retries=retries,
            more_headers=more_headers,
            policy=policy,
        )
        self._lock = threading.Lock()
        self._known_missing: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()

    @property
    def name(self) -> str:
        return f"{self._host}/{self._prefix}" if self._prefix else self._host

    @property
    def host(self) -> str:
        """Where it answers: `host[:port]`."""
        return self._host

    @property
    def plain_http(self) -> bool:
        """Whether it is spoken to without TLS."""
        return self._transport.base.scheme == "http"

    def login(self) -> Login | None:
        """Who we are there, for a container engine that pulls and pushes itself; asked anew."""
        return self._login()

    def reference(self, repo: str, digest: str) -> str:
        return f"{self.name}/{check_repo(repo)}@{check_digest(digest)}"

    def missing(self, repo: str, digests: Iterable[str]) -> set[str]:
        path = self._path(repo)
        wanted = sorted({check_digest(digest) for digest in digests})

        def held(digest: str) -> bool:
            reply = self._transport.call(
                "HEAD",
                f"/v2/{path}/blobs/{digest}",
                scopes=push(path),
                ok=HEAD_STATUSES,
            )
            return reply.status != 404

        absent = {d for d, there in zip(wanted, self._each(held, wanted), strict=True) if not there}
        self._remember_missing(path, absent)
        return absent

    def put_blob(
        self,
        repo: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: str | None = None,
    ) -> Put:
        path, key = self._path(repo), check_digest(descriptor.digest)
        with self._lock:
            until = self._known_missing.pop((path, key), 0.0)
        moved_bytes = Upload(
            self._transport,
            path,
            descriptor,
            open_blob,
            mount_from=None if mount_from is None else self._path(mount_from),
            known_missing=until > time.monotonic(),
            chunk_bytes=self._chunk_bytes,
        ).run()
        return Put(descriptor, moved_bytes)

    def blob(self, repo: str, digest: str) -> Iterator[bytes]:
        return stream_blob(self._transport, self._path(repo), check_digest(digest))

    def put_manifest(self, repo: str, manifest: Manifest, *, tags: Iterable[str] = ()) -> None:
        path = self._path(repo)
        if digest_of(manifest.data) != manifest.digest:
            raise ValueError(f"the manifest's bytes do not hash to {manifest.digest}")
        # A manifest put under a tag is held under its digest too: one request less.
        for name in [check_tag(tag) for tag in tags] or [manifest.digest]:
            try:
                reply = self._transport.call(
                    "PUT",
                    f"/v2/{path}/manifests/{name}",
                    scopes=push(path),
                    ok=frozenset({200, 201, 204}),
                    headers={"Content-Type": manifest.media_type},
                    body=Body.of(manifest.data),
                )
            except BlobsLostError as lost:
                self._remember_missing(path, lost.digests or _blobs_of(manifest))
                raise
            stored = reply.headers.get("docker-content-digest")
            if stored is None and not is_digest(name):
                found = self.manifest(repo, name)
                stored = found.digest if found else "nothing"
            if stored is not None and stored != manifest.digest:
                raise StoreUnreachableError(
                    f"{self._host} stored {stored[:80]} instead of {manifest.digest}: a proxy in "
                    "between may change uploads, check it and try again"
                )
        self._check_kept(path, manifest)

    def _check_kept(self, path: str, manifest: Manifest) -> None:
        """Read the manifest back: what a registry keeps may not be what it was given.

        Distribution writes it in place. Killed meanwhile it keeps a part, believes from then on
        that it has the whole, and says so to whoever puts it again.
        """
        reply = self._transport.call(
            "GET",
            f"/v2/{path}/manifests/{manifest.digest}",
            scopes=push(path),
            ok=frozenset({200, 404}),
            headers={"Accept": manifest.media_type},
        )
        if reply.status == 404 or digest_of(reply.data) != manifest.digest:
            raise StoreRefusedError(
                f"{self._host} keeps a damaged manifest {manifest.digest} and takes no other: "
                "its operator must remove that blob's file, or the disk is failing"
            )

    def manifest(self, repo: str, reference: str) -> Manifest | None:
        path = self._path(repo)
        reply = self._transport.call(
            "GET",
            f"/v2/{path}/manifests/{check_reference(reference)}",
            scopes=pull(path),
            ok=frozenset({200, 404}),
            headers={"Accept": _ACCEPT},
        )
        if reply.status == 404:
            return None
        digest = digest_of(reply.data)
        said = reference if is_digest(reference) else reply.headers.get("docker-content-digest")
        if said and is_digest(said) and said != digest:
            raise StoreUnreachableError(
                f"{self._host} sent a manifest of {path} that is not {said}: a proxy in between "
                "may change downloads, check it and try again"
            )
        return Manifest(self._media_type(path, reply.headers, reply.data), digest, reply.data)

    def delete(self, repo: str, digests: Iterable[str]) -> set[str]:
        path = self._path(repo)
        wanted = sorted({check_digest(digest) for digest in digests})

        def deleted(digest: str) -> bool:
            reply = self._transport.call(
                "DELETE",
                f"/v2/{path}/manifests/{digest}",
                scopes=delete(path),
                ok=frozenset({200, 202, 204, 404}),
            )
            return reply.status != 404

        return {d for d, gone in zip(wanted, self._each(deleted, wanted), strict=True) if gone}

    def _remember_missing(self, path: str, digests: Iterable[str]) -> None:
        """What the next `put_blob` need not ask, or must not: the registry may say otherwise."""
        now = time.monotonic()
        with self._lock:
            self._known_missing = {k: v for k, v in self._known_missing.items() if v > now}
            self._known_missing.update({(path, each): now + MISSING_FOR_S for each in digests})

    def _media_type(self, path: str, headers: Mapping[str, str], data: bytes) -> str:
        """What the manifest says of itself; the header for those that don't."""
        try:
            said = parse_object(data).get("mediaType")
        except ValueError:
            raise StoreRefusedError(
                f"{self._host}/{path} answered with something that is no manifest: check that it "
                "is a registry"
            ) from None
        if isinstance(said, str) and said:
            return said
        return headers.get("content-type", MANIFEST_TYPE).split(";")[0].strip()

    def _path(self, repo: str) -> str:
        check_repo(repo)
        if is_hub(self._host) and not self._prefix and "/" not in repo:
            return f"library/{repo}"
        return check_repo(f"{self._prefix}/{repo}") if self._prefix else repo

    def _login(self) -> Login | None:
        return self._credentials.login(self._host, self._prefix)

    def _each(self, ask: Callable[[str], bool], digests: list[str]) -> list[bool]:
        if len(digests) < 2:
            return [ask(digest) for digest in digests]
        with ThreadPoolExecutor(min(self._parallel, len(digests))) as threads:
            return list(threads.map(ask, digests))


def _blobs_of(manifest: Manifest) -> list[str]:
    """The digests that a manifest names."""
    return _DIGEST.findall(manifest.data.decode())
