"""One blob into a registry: mounted, sent at once, or sent in chunks that survive a broken line.

Source: OCI distribution-spec v1.1, "Pushing blobs". The states of one upload: no session, a session
at an offset, stored. Whatever fails, the registry is asked what it holds before bytes move again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

import httpx

from builder.errors import BuildError, StoreRefusedError, StoreUnreachableError
from builder.model import Descriptor
from builder.stores.challenge import pull, push
from builder.stores.deadline import Retriable
from builder.stores.exchange import Body, Reply, join
from builder.stores.source import Source
from builder.stores.transport import Transport

HEAD_STATUSES = frozenset({200, 302, 307, 404})
"""What a HEAD of a blob may answer; a redirect to an object store is as good as 200."""

_OCTETS = {"Content-Type": "application/octet-stream"}
_SESSION_LOST = frozenset({400, 404, 409, 410, 416})
_NO_CHUNKS = frozenset({400, 404, 405, 411, 413, 415, 501})
_RANGE_END = re.compile(r"(?:bytes[= ])?0-(\d{1,18})")


class Upload:
    """The upload of one blob to one repository, used once by one thread.

    `known_missing` saves the question whether the blob is there, `mount_from` names a repository
    of the same registry that may hold it. Blobs over `chunk_bytes` go in
    chunks of that size, so that a broken connection costs one chunk.
    """

    def __init__(
        self,
        transport: Transport,
        repo: str,
        descriptor: Descriptor,
        open_blob: Callable[[], BinaryIO],
        *,
        mount_from: str | None,
        known_missing: bool,
        chunk_bytes: int,
    ) -> None:
        self._transport = transport
        self._repo = repo
        self._scopes = push(repo)
        self._blob = descriptor
        self._mount_from = mount_from
        self._known_missing = known_missing
        self._chunk_bytes = chunk_bytes
        self._chunked = descriptor.size_bytes > chunk_bytes
        self._patience = transport.patience()
        self._location: str | None = None
        self._offset = 0
        self._furthest = 0
        self._resumed = False
        self._moved_bytes = 0
        self._source = Source(open_blob, descriptor.digest)

    def run(self) -> int:
        """Bytes that had to be sent until the registry held the blob; 0 if it did or mounted it."""
        try:
            while not self._attempt():
                # An answer may have been lost after the registry stored all: so it's asked.
                self._known_missing = False
                if self._location is not None and not self._resume():
                    break
            return self._moved_bytes
        finally:
            self._source.close()

    def _attempt(self) -> bool:
        """Whether the registry holds the blob now; False after a failure and a pause."""
        try:
            if self._location is not None or self._begin():
                self._send()
        except Retriable as failure:
            self._patience.pause(failure)
            return False
        return True

    def _begin(self) -> bool:
        """Open a session; False if none is needed, since the blob is there now.

        A mount that works takes one request; one that doesn't leaves a session to go on with.
        """
        if self._mount_from is not None:
            try:
                if self._mount(self._mount_from):
                    return False
            except StoreRefusedError:
                # Perhaps no right to read the source; if none to write, a plain upload says it.
                self._location = None
            self._mount_from = None
        if not self._known_missing and self._held():
            self._abandon()
            return False
        if self._location is None:
            reply = self._once("POST", f"/v2/{self._repo}/blobs/uploads/", frozenset({202}))
            self._follow(reply)
            shortest = reply.headers.get("oci-chunk-min-length", "")
            if shortest.isdecimal():
                self._chunk_bytes = max(self._chunk_bytes, int(shortest[:15]))
        self._offset = 0
        self._resumed = False
        return True

    def _mount(self, source: str) -> bool:
        url = f"/v2/{self._repo}/blobs/uploads/?" + str(
            httpx.QueryParams({"mount": self._blob.digest, "from": source})
        )
        with self._transport.stream(
            "POST", url, scopes=self._scopes | pull(source), patience=self._patience
        ) as response:
            if response.status_code == 201:
                self._check_digest(response.headers)
                return True
            if response.status_code == 202:
                self._location = self._where(response.request.url, response.headers)
            return False

    def _held(self) -> bool:
        reply = self._once("HEAD", f"/v2/{self._repo}/blobs/{self._blob.digest}", HEAD_STATUSES)
        return reply.status != 404

    def _abandon(self) -> None:
        """Give the session back; a registry that can't take it drops it some day by itself."""
        if self._location is None:
            return
        location, self._location = self._location, None
        try:
            self._once("DELETE", location, frozenset({202, 204}))
        except (Retriable, StoreRefusedError):
            return

    def _resume(self) -> bool:
        """After a break: False if the blob is held, else go on where the session says."""
        try:
            if self._held():
                self._location = None
                return False
            reply = self._once("GET", self._session, frozenset({204, 200, *_SESSION_LOST}))
        except Retriable as failure:
            self._patience.pause(failure)
            return self._resume()
        if reply.status in _SESSION_LOST or (offset := _offset(reply.headers)) is None:
            self._location = None
            return True
        self._follow(reply)
        self._resumed = True
        self._offset = min(offset, self._blob.size_bytes)
        return True

    def _send(self) -> None:
        if not self._chunked and self._offset == 0:
            self._put(self._body(0, self._blob.size_bytes))
            return
        while self._offset < self._blob.size_bytes:
            self._patch()
            if self._offset > self._furthest:
                self._furthest = self._offset
                self._patience.progress()
        self._put(None)

    def _patch(self) -> None:
        start = self._offset
        length = min(self._chunk_bytes, self._blob.size_bytes - start)
        reply = self._once(
            "PATCH",
            self._session,
            frozenset({202, 201, 204, *_SESSION_LOST, *_NO_CHUNKS}),
            headers=_OCTETS | {"Content-Range": f"{start}-{start + length - 1}"},
            body=self._body(start, length),
        )
        if reply.status in (201, 202, 204):
            self._follow(reply)
            offset = _offset(reply.headers)
            self._offset = start + length if offset is None else offset
            if self._offset <= start:
                self._lose("it kept nothing of a chunk")
            return
        if start == 0 and self._chunked and reply.status in _NO_CHUNKS:
            self._chunked = False
            self._lose(f"it takes no chunks, HTTP {reply.status}")
        self._lose(f"the upload session is gone, HTTP {reply.status}")

    def _put(self, body: Body | None) -> None:
        joiner = "&" if "?" in self._session else "?"
        url = f"{self._session}{joiner}{httpx.QueryParams({'digest': self._blob.digest})}"
        lost = _SESSION_LOST - {400}
        reply = self._once(
            "PUT", url, frozenset({201, 204, 400, *lost}), headers=_OCTETS, body=body
        )
        if reply.status == 400 and b"DIGEST_INVALID" in reply.data and not self._resumed:
            raise BuildError(
                f"The bytes of {self._blob.digest} do not hash to their name: delete them from the "
                "cache and build again"
            )
        if reply.status == 400 or reply.status in lost:
            self._lose(f"the upload session is gone, HTTP {reply.status}")
        self._check_digest(reply.headers)

    def _lose(self, reason: str) -> None:
        self._location = None
        raise Retriable(reason)

    @property
    def _session(self) -> str:
        if self._location is None:
            raise Retriable("there is no upload session")
        return self._location

    def _once(
        self,
        method: str,
        url: str,
        ok: frozenset[int],
        *,
        headers: dict[str, str] | None = None,
        body: Body | None = None,
    ) -> Reply:
        return self._transport.once(
            method,
            url,
            scopes=self._scopes,
            ok=ok,
            headers=headers,
            body=body,
            patience=self._patience,
        )

    def _follow(self, reply: Reply) -> None:
        self._location = self._where(reply.url, reply.headers)

    def _where(self, asked: httpx.URL, headers: httpx.Headers) -> str:
        where = headers.get("location")
        if not where:
            raise StoreRefusedError(
                f"{self._transport.host} opened an upload without saying where: check that it is "
                "an OCI registry"
            )
        return str(join(asked, where))

    def _check_digest(self, headers: httpx.Headers) -> None:
        stored = headers.get("docker-content-digest", self._blob.digest)
        if stored != self._blob.digest:
            raise StoreUnreachableError(
                f"{self._transport.host} stored {stored[:80]} instead of {self._blob.digest}: a "
                "proxy in between may change uploads, check it and try again"
            )

    def _body(self, start: int, length: int) -> Body:
        def chunks() -> Iterator[bytes]:
            for chunk in self._source.read(start, length):
                self._moved_bytes += len(chunk)
                _ = self._patience.left_s  # raises once there is none
                yield chunk

        return Body(length, chunks)


def _offset(headers: httpx.Headers) -> int | None:
    """How many bytes a session has, by its Range header; None if it doesn't say.

    `0-0` is one byte by the specification, and what the reference registry says of none: as bytes
    are sent in far larger pieces, it is none.
    """
    match = _RANGE_END.fullmatch(headers.get("range", ""))
    if match is None:
        return None
    end = int(match[1])
    return end + 1 if end else 0
