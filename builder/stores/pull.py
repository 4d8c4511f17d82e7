"""One blob out of a registry, verified on the way and gone on with after a broken connection."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import httpx

from builder.errors import StoreRefusedError, StoreUnreachableError
from builder.stores.challenge import pull
from builder.stores.deadline import Patience, Retriable
from builder.stores.exchange import read_limited, reading
from builder.stores.transport import Transport

MAX_BLOB_BYTES = 64 << 30
"""No layer is near this size: an endless answer is cut off."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)")


def stream_blob(transport: Transport, repo: str, digest: str) -> Iterator[bytes]:
    """The blob in chunks as they arrive; FileNotFoundError, at the first one, if it isn't held.

    The last chunk is only yielded once all bytes hash to the digest, so that a reader that gets
    to the end has the blob and one that doesn't knows it.
    """
    patience = transport.patience()
    hashed = hashlib.sha256()
    done = 0
    last = b""
    while True:
        try:
            for chunk in _attempt(transport, repo, digest, done, patience):
                if last:
                    yield last
                hashed.update(chunk)
                done += len(chunk)
                last = chunk
                if done > MAX_BLOB_BYTES:
                    raise StoreRefusedError(
                        f"{transport.host} sent over {MAX_BLOB_BYTES >> 30} GiB for {digest}: "
                        "check that it is a registry"
                    )
                patience.progress()
            break
        except Retriable as failure:
            patience.pause(failure)
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise StoreUnreachableError(
            f"{transport.host} sent other bytes than {digest} of {repo}: a proxy in between may "
            "change downloads, check it and try again"
        )
    if last:
        yield last


def _attempt(
    transport: Transport, repo: str, digest: str, start: int, patience: Patience
) -> Iterator[bytes]:
    """The bytes from `start` on, over one connection."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    url = f"/v2/{repo}/blobs/{digest}"
    with transport.stream(
        "GET", url, scopes=pull(repo), headers=headers, patience=patience
    ) as response:
        if response.status_code == 404:
            raise FileNotFoundError(f"{transport.host}/{repo} holds no {digest}")
        if start and response.status_code == 416:
            return
        if response.status_code not in (200, 206):
            raise transport.problem("GET", response, read_limited(response, patience))
        skip = start - _first_byte(response)
        if skip < 0:
            raise Retriable("it went on behind the place asked for")
        chunks = response.iter_raw()
        while True:
            with reading():
                chunk = next(chunks, b"")
            if not chunk:
                return
            _ = patience.left_s
            if skip:
                chunk, skip = chunk[skip:], max(0, skip - len(chunk))
            if chunk:
                yield chunk


def _first_byte(response: httpx.Response) -> int:
    if response.status_code == 200:
        return 0
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None:
        raise Retriable("it answered a range without saying which")
    return int(match[1])
