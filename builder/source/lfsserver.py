"""Git LFS: the files that pointers stand for, by the batch API's basic transfer.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md. No program of git-lfs is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import httpx
from pydantic import ValidationError

from builder.errors import (
    CancelledError,
    InvalidSpecError,
    SourceNotFoundError,
    SourceUnreachableError,
    TimedOutError,
)
from builder.model import Step
from builder.source.commit import is_folder
from builder.source.gitcommand import Git
from builder.source.lfs import Pointer
from builder.source.lfsapi import AT_ONCE, Action, Batch, Object, theirs
from builder.source.lfsendpoint import Endpoint, checked, endpoint_of, origin
from builder.source.model import Report
from builder.source.names import human, shown
from builder.source.url import strip_userinfo
from builder.source.web import Web

_TYPE = "application/vnd.git-lfs+json"
_CHUNK_BYTES = 256 << 10
_MAX_ANSWER_BYTES = 4 << 20
_ATTEMPTS = 3
_REDIRECTS = 5
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_Ask = Callable[[], bytes]


class _BadAnswerError(Exception):
    """An answer that another attempt may better; the message says what is wrong with it."""


def fill(
    git: Git,
    root: Path,
    pointers: Sequence[Pointer],
    commit: str,
    ref: str | None,
    ends: float,
    report: Report,
) -> None:
    """Replace pointers in a checkout by what they stand for, each checked against its SHA-256.

    The caller has weighed them. Raises SourceNotFoundError, SourceUnreachableError,
    GitRefusedError, InvalidSpecError, CancelledError, TimedOutError.
    """
    by_hash: dict[str, list[Pointer]] = defaultdict(list)
    for pointer in pointers:
        by_hash[pointer.sha256].append(pointer)
    wanted = [same[0] for same in by_hash.values()]
    total = human(sum(pointer.size_bytes for pointer in wanted))
    report(Step("log", "source", f"Fetching {len(wanted)} LFS files, {total}"))
    transfer = _Transfer(git, endpoint_of(git, commit), ends)
    try:
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            actions = transfer.batch(some, ref)
            for pointer in some:
                first, *others = by_hash[pointer.sha256]
                transfer.download(first, actions[pointer.sha256], root)
                for other in others:
                    with _opened(root, other.path) as out, (root / first.path).open("rb") as data:
                        shutil.copyfileobj(data, out)
    finally:
        transfer.close()


@contextmanager
def _opened(root: Path, path: str) -> Iterator[BinaryIO]:
    """A file of the checkout, emptied and open for writing; its mode stays."""
    if not is_folder(root, PurePosixPath(path).parent):
        raise InvalidSpecError(f"'{shown(path)}' lies behind a link; move it.", file=shown(path))
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(root / path, flags), "wb") as out:
        yield out


class _Transfer:
    """Questions to one LFS server, under the fetch's own deadline."""

    def __init__(self, git: Git, endpoint: Endpoint, ends: float) -> None:
        self._git = git
        self._endpoint = endpoint
        self._ends = ends
        self._web = Web(git.policy)
        self._shown = strip_userinfo(str(endpoint.url.copy_with(query=None)))

    def close(self) -> None:
        self._web.close()

    def batch(self, pointers: Sequence[Pointer], ref: str | None) -> Mapping[str, Action]:
        """How each of at most 100 is downloaded; raises SourceNotFoundError for one that is not."""
        objects = [{"oid": each.sha256, "size": each.size_bytes} for each in pointers]
        asked: dict[str, object] = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": objects,
        }
        if ref is not None:
            asked["ref"] = {"name": ref}
        body = httpx.Request("POST", self._endpoint.url, json=asked).content
        headers = {"Accept": _TYPE, "Content-Type": _TYPE} | dict(self._endpoint.headers)
        path = self._endpoint.url.path.rstrip("/")
        url = self._endpoint.url.copy_with(path=f"{path}/objects/batch")
        answer = self._patiently(lambda: self._ask(url, headers, body))
        try:
            batch = Batch.model_validate_json(answer)
        except ValidationError as error:
            raise self._odd("its answer can't be read") from error
        if batch.transfer != "basic":
            raise self._odd("it wants another transfer than basic")
        by_hash = {each.oid: each for each in batch.objects}
        return {each.sha256: self._action(each, by_hash.get(each.sha256)) for each in pointers}

    def download(self, pointer: Pointer, action: Action, root: Path) -> None:
        """Put one file where its pointer is."""
        url = checked(self._git, action.href, f"The URL of the LFS file '{shown(pointer.path)}'")
        headers = theirs(action.header)
        told = any(name.lower() == "authorization" for name in headers)
        if not told and origin(url) == origin(self._endpoint.url):
            headers |= self._endpoint.headers
        self._patiently(lambda: self._get(url, headers, pointer, root))

    def _action(self, pointer: Pointer, found: Object | None) -> Action:
        if found is not None and found.error is None and found.actions is not None:
            action = found.actions.download
            if action is not None:
                return action
        raise SourceNotFoundError(
            f"The LFS server {self._shown} does not have what '{shown(pointer.path)}' stands for; "
            "push it with `git lfs push --all`.",
            file=shown(pointer.path),
        )

    def _ask(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> bytes:
        with self._web.stream("POST", url, headers, body) as response:
            self._check(response)
            return b"".join(self._limited(response.iter_raw(_CHUNK_BYTES), _MAX_ANSWER_BYTES))

    def _get(
        self, url: httpx.URL, headers: Mapping[str, str], pointer: Pointer, root: Path
    ) -> bytes:
        for _ in range(_REDIRECTS):
            with self._web.stream("GET", url, headers) as response:
                if response.status_code in _MOVED:
                    url, headers = self._moved(url, response, headers)
                    continue
                self._check(response)
                return self._write(response, pointer, root)
        raise self._odd("it redirects without end")

    def _moved(
        self, url: httpx.URL, response: httpx.Response, headers: Mapping[str, str]
    ) -> tuple[httpx.URL, Mapping[str, str]]:
        there = response.headers.get("Location", "")
        target = checked(self._git, there, "What the LFS server redirects to", url)
        return target, headers if origin(target) == origin(url) else {}

    def _write(self, response: httpx.Response, pointer: Pointer, root: Path) -> bytes:
        digest, size = hashlib.sha256(), 0
        with _opened(root, pointer.path) as out:
            for chunk in self._limited(response.iter_raw(_CHUNK_BYTES), pointer.size_bytes):
                digest.update(chunk)
                out.write(chunk)
                size += len(chunk)
        if size != pointer.size_bytes or digest.hexdigest() != pointer.sha256:
            raise _BadAnswerError(f"it sent another file for '{shown(pointer.path)}'")
        return b""

    def _limited(self, chunks: Iterable[bytes], limit: int) -> Iterable[bytes]:
        """The chunks, which may not be more than so many bytes; stops when the fetch must."""
        size = 0
        for chunk in chunks:
            self._may_go_on()
            size += len(chunk)
            if size > limit:
                raise _BadAnswerError("it sent more than it should")
            yield chunk

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status in _RETRIED:
            raise _BadAnswerError(f"it answered {status}")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
            raise SourceNotFoundError(
                f"The LFS server {self._shown} does not exist or needs credentials (it answered "
                f"{status}); check that the repository has LFS files, or ask for access to be set "
                "up."
            )
        raise self._odd(f"it answered {status}")

    def _patiently(self, ask: _Ask) -> bytes:
        for attempt in range(1, _ATTEMPTS + 1):
            self._may_go_on()
            try:
                return ask()
            except (httpx.HTTPError, _BadAnswerError) as error:
                reason = str(error) if isinstance(error, _BadAnswerError) else "no answer"
                failure = self._odd(reason)
                failure.__cause__ = error
            time.sleep(0.2 * attempt)
        raise failure

    def _may_go_on(self) -> None:
        if self._git.policy.cancelled():
            raise CancelledError("The build was cancelled while its LFS files were fetched.")
        if time.monotonic() >= self._ends:
            raise TimedOutError("Fetching LFS files took too long; try again, or ask for less.")

    def _odd(self, reason: str) -> SourceUnreachableError:
        return SourceUnreachableError(
            f"The LFS server {self._shown} did not answer as one ({reason}); try again."
        )
