"""What goes over a registry's wire: bodies that can be sent again, answers within a limit."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from builder.errors import StoreRefusedError
from builder.stores.deadline import Patience, Retriable

MAX_FINISHED_BYTES = 64 << 10
MAX_REPLY_BYTES = 4 << 20
"""The size to which registries keep manifests (distribution-spec v1.1, "Pushing Manifests")."""

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST"})
"""How OpenSSL names plain HTTP where it expects TLS."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: a known length, and chunks that can be made again for a retry."""

    length: int
    chunks: Callable[[], Iterator[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(len(data), lambda: iter((data,)))


class BodyStream(httpx.SyncByteStream):
    """A body as httpx sends it."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return self._body.chunks()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read to its end."""

    status: int
    headers: httpx.Headers
    data: bytes
    url: httpx.URL


def read_limited(response: httpx.Response, patience: Patience) -> bytes:
    """The body; StoreRefusedError if it is over MAX_REPLY_BYTES, Retriable if the line breaks."""
    data = bytearray()
    chunks = response.iter_bytes()
    while True:
        with reading():
            chunk = next(chunks, b"")
        if not chunk:
            return bytes(data)
        data += chunk
        _ = patience.left_s
        if len(data) > MAX_REPLY_BYTES:
            raise StoreRefusedError(
                f"{response.request.url.host} sent an answer over {MAX_REPLY_BYTES >> 20} MiB: "
                "check that it is a registry"
            )


def finish(response: httpx.Response) -> None:
    """Read what little is left, as a connection lives on only after an answer read to its end."""
    with suppress(httpx.HTTPError, httpx.StreamError):
        if int(response.headers.get("content-length") or 0) <= MAX_FINISHED_BYTES:
            for _ in response.iter_raw():
                pass
    response.close()


def join(base: httpx.URL, where: str) -> httpx.URL:
    """A Location as an absolute URL; StoreRefusedError if it is none."""
    try:
        return base.join(where)
    except httpx.InvalidURL:
        raise StoreRefusedError(
            f"{base.host} answered with a broken address: check that it is a registry"
        ) from None


@contextmanager
def reading() -> Iterator[None]:
    """Turn a connection that fails inside the block into Retriable, or into what no retry mends."""
    try:
        yield
    except httpx.TransportError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise StoreRefusedError(
                    f"The registry's certificate is not trusted ({cause.verify_message}): add its "
                    "authority to the CA bundle (KITBAG_CA_BUNDLE)"
                ) from None
            if isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS:
                raise StoreRefusedError(
                    "The registry speaks no TLS: name it with http:// if that is meant"
                ) from None
            cause = cause.__cause__ or cause.__context__
        raise Retriable(_why(error)) from error


def _why(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "timed out"
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    if isinstance(error, httpx.ProxyError):
        return "the proxy failed"
    return "the connection broke"


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110 10.2.3)."""
    if not header:
        return None
    if header.isdecimal():
        return float(header[:9])
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds()) if when.tzinfo else None
