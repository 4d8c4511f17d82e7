"""Fetches the wheels of a lock, each checked against its hash before anybody looks inside."""

from __future__ import annotations

import copy
import hashlib
import random
import re
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpcore
import httpx

from builder.errors import BadWheelError, IndexRefusedError, IndexUnreachableError, NoWheelError
from builder.layers.cache import disk_full
from builder.model import LockedWheel
from builder.pinned import Pinned, has_proxy, pin
from builder.secrets import Secrets
from builder.source import HostPolicy

ATTEMPTS = 4
REDIRECTS = 5
CONNECTIONS = 16
CHUNK_BYTES = 256 << 10
READ_BYTES = 256 << 10
"""Received at most at once, where httpcore's own limit is 64 KiB: fewer steps through its layers
for each gigabyte. Each download may hold a few such buffers."""
MAX_WHEEL_BYTES = 8 << 30
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_FILENAME = re.compile(r"[A-Za-z0-9_.+!-]{1,240}\.whl")
_SDIST = re.compile(r"[A-Za-z0-9_.+!-]{1,240}\.(?:tar\.gz|zip)")
_PREFIX = "wheel-"
_ABANDONED_S = 24 * 3600
_POLL_S = 0.1

httpcore.HTTP11Connection.READ_NUM_BYTES = READ_BYTES


class Downloader:
    """Wheels over HTTP(S) on kept connections, safe for many threads; `close` ends them.

    The hosts that a lock names were checked when it was made; `policy` says where these may
    redirect to. `mirrors` are pairs of beginnings of URLs: what the lock has under the first is
    fetched from under the second. `own` are URLs of the operator's own, whose hosts the policy is
    not asked about, as it isn't about those of mirrors and secrets.
    """

    def __init__(
        self,
        folder: Path,
        policy: HostPolicy,
        *,
        ca_bundle: Path | None = None,
        timeout_s: float = 30.0,
        mirrors: Sequence[tuple[str, str]] = (),
        own: Iterable[str] = (),
    ) -> None:
        self._folder = folder
        self._policy = policy
        self._mirrors = mirrors
        self._secrets = Secrets()
        self._built: Callable[[LockedWheel], Path] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
        trusted = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
        urls = (*own, *(after for _, after in mirrors))
        self._own = {host for url in urls if (host := urlsplit(url).hostname)}
        pinned = Pinned(policy, NoWheelError, self._own)
        self._client = httpx.Client(
            transport=(
                None if has_proxy() else pin(httpx.HTTPTransport(trusted, limits=limits), pinned)
            ),
            limits=limits,
            timeout=timeout_s,
            verify=trusted,
            headers={"Accept-Encoding": "identity"},  # the hash is over the file, not a packing
        )

    def using(self, secrets: Secrets) -> Downloader:
        """This downloader with credentials, each of which goes to its own host only."""
        other = copy.copy(self)
        other._secrets = secrets
        self._own.update(host for _, host, _ in secrets.origins)
        return other

    def building(self, built: Callable[[LockedWheel], Path]) -> Downloader:
        """This downloader with what gives the files of wheels that no index has."""
        other = copy.copy(self)
        other._built = built
        return other

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    @contextmanager
    def wheel(
        self, wanted: LockedWheel, check: Callable[[int], None] = lambda _: None
    ) -> Iterator[Path]:
        """The wheel as a file of its own name for as long as the context lasts.

        `check` is called with the bytes of each chunk, with 0 while waiting, and may raise to stop.
        Raises NoWheelError (gone from the index), BadWheelError (not the bytes that were locked),
        IndexUnreachableError, DiskFullError.
        """
        if not _FILENAME.fullmatch(wanted.filename):
            raise BadWheelError(
                f"{wanted.filename[:200]!r} in the lock is no file name of a wheel; lock again.",
                package=wanted.name,
            )
        if wanted.sdist is not None:
            if self._built is None:
                raise NoWheelError(
                    f"{wanted.filename} was built from {wanted.sdist.filename}, and this worker "
                    "has no container engine to build it again; ask its operator for one.",
                    package=wanted.name,
                )
            yield self._built(wanted)
            return
        with self._file(wanted, check) as path:
            yield path

    @contextmanager
    def sdist(
        self, wanted: LockedWheel, check: Callable[[int], None] = lambda _: None
    ) -> Iterator[Path]:
        """A source distribution, likewise."""
        if not _SDIST.fullmatch(wanted.filename):
            raise BadWheelError(
                f"{wanted.filename[:200]!r} is no file name of a source distribution.",
                package=wanted.name,
            )
        with self._file(wanted, check) as path:
            yield path

    def page(self, url: str, name: str, accept: str, max_bytes: int) -> tuple[bytes, str, str]:
        """A page of an index with its content type and its URL after redirects.

        Raises NoWheelError if there is none, IndexUnreachableError, IndexRefusedError.
        """
        wanted = LockedWheel(name, "", f"its page of {name}", url, "", 0)
        try:
            with self._opened(wanted, 0, accept) as response:
                data = bytearray()
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    data += chunk
                    if len(data) > max_bytes:
                        raise NoWheelError(
                            f"The index's page of {name} is over {max_bytes >> 20} MiB.",
                            package=name,
                        )
                return bytes(data), response.headers.get("content-type", ""), str(response.url)
        except httpx.TransportError as error:
            raise IndexUnreachableError(
                f"The package index at {_url(wanted).host} did not answer; try again later.",
                package=name,
            ) from error

    @contextmanager
    def _file(self, wanted: LockedWheel, check: Callable[[int], None]) -> Iterator[Path]:
        with (
            disk_full(self._folder),
            tempfile.TemporaryDirectory(dir=self._folder, prefix=_PREFIX) as folder,
        ):
            path = Path(folder) / wanted.filename
            with path.open("wb") as file:
                sha256 = self._fetch(wanted, file, check)
            if sha256 != wanted.sha256:
                raise BadWheelError(
                    f"{wanted.filename} is not the file that was locked: its SHA-256 is "
                    f"{sha256[:12]}…, not {wanted.sha256[:12]}…; resolve again with --upgrade, "
                    "and ask who runs the index.",
                    package=wanted.name,
                )
            yield path

    def _fetch(self, wanted: LockedWheel, file: BinaryIO, check: Callable[[int], None]) -> str:
        """Write the wheel, each answer from where the last one broke; returns the hex SHA-256."""
        digest = hashlib.sha256()
        failures = furthest = 0
        while True:
            try:
                with self._opened(wanted, file.tell()) as response:
                    if response.status_code != httpx.codes.PARTIAL_CONTENT:
                        digest = hashlib.sha256()
                        file.seek(0)
                        file.truncate()
                    for chunk in response.iter_raw():
                        check(len(chunk))
                        _check_size(wanted, file.tell() + len(chunk))
                        digest.update(chunk)
                        file.write(chunk)
                    if file.tell() < wanted.size_bytes:
                        raise httpx.ReadError("ended early", request=response.request)
            except httpx.TransportError as error:
                if file.tell() > furthest + CHUNK_BYTES:  # it goes on, if slowly
                    furthest, failures = file.tell(), 0
                failures += 1
                if failures == ATTEMPTS:
                    raise IndexUnreachableError(
                        f"The package index at {_url(wanted).host} did not deliver "
                        f"{wanted.filename}; try again later.",
                        package=wanted.name,
                    ) from error
                _wait((2**failures) * random.uniform(0.1, 0.2), check)  # noqa: S311
            else:
                return digest.hexdigest()

    @contextmanager
    def _opened(
        self, wanted: LockedWheel, offset: int, accept: str = "*/*"
    ) -> Iterator[httpx.Response]:
        """The answer that holds the wheel, or its rest, after a few redirects to allowed hosts."""
        headers = {"Accept": accept} | ({"Range": f"bytes={offset}-"} if offset else {})
        url = self._place(wanted)
        for _ in range(REDIRECTS + 1):
            if url.scheme not in ("https", "http"):
                raise NoWheelError(
                    f"{wanted.filename} has no http(s) address in the lock; lock it from an index.",
                    package=wanted.name,
                )
            secret = self._secrets.for_url(str(url))
            login = None if secret is None else httpx.BasicAuth(secret.username, secret.password)
            with self._client.stream("GET", url, headers=headers, auth=login) as response:
                if response.is_redirect and response.next_request is not None:
                    url = response.next_request.url
                    self._policy.check(url.host, NoWheelError)
                    continue
                status = response.status_code
                if status == httpx.codes.UNAUTHORIZED:
                    raise IndexRefusedError(
                        f"The package index at {url.host} refused {wanted.filename}; ask the "
                        "operator for a secret for that host.",
                        package=wanted.name,
                    )
                if status in _RETRIED:
                    raise httpx.ReadError(f"status {status}", request=response.request)
                if offset and not _is_rest(response, offset) and status != httpx.codes.OK:
                    headers.pop("Range")  # it can't send a part
                    continue
                if status not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
                    raise NoWheelError(
                        f"The index answered {status} for {wanted.filename}; it may have been "
                        "deleted: resolve again with --upgrade.",
                        package=wanted.name,
                    )
                yield response
                return
        raise NoWheelError(
            f"The index redirects {wanted.filename} in a circle; ask who runs it.",
            package=wanted.name,
        )

    def _place(self, wanted: LockedWheel) -> httpx.URL:
        """Where the wheel is fetched from: where the lock says, or a mirror of that."""
        for before, after in self._mirrors:
            if wanted.url.startswith(before):
                return _url(replace(wanted, url=after + wanted.url.removeprefix(before)))
        return _url(wanted)


def _url(wanted: LockedWheel) -> httpx.URL:
    try:
        return httpx.URL(wanted.url)
    except httpx.InvalidURL as error:
        raise NoWheelError(
            f"{wanted.filename} has no readable address in the lock; lock again.",
            package=wanted.name,
        ) from error


def _is_rest(response: httpx.Response, offset: int) -> bool:
    told = response.headers.get("Content-Range", "")
    return response.status_code == httpx.codes.PARTIAL_CONTENT and told.startswith(
        f"bytes {offset}-"
    )


def _check_size(wanted: LockedWheel, received: int) -> None:
    if received > (wanted.size_bytes or MAX_WHEEL_BYTES):
        raise BadWheelError(
            f"{wanted.filename} is longer than the index says; resolve again with --upgrade.",
            package=wanted.name,
        )


def _wait(seconds: float, check: Callable[[int], None]) -> None:
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        check(0)
        time.sleep(min(left, _POLL_S))


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left a day ago or earlier."""
    for path in folder.glob(f"{_PREFIX}*"):
        if path.stat().st_mtime < time.time() - _ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True)
