"""Blobs into a folder, each whole or not at all, whoever dies in between."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from builder.errors import BuildError, DiskFullError, StoreRefusedError
from builder.model import Descriptor
from builder.stores.names import check_digest

COPY_BYTES = 1 << 20
ABANDONED_AFTER_S = 60.0
"""The age from which an unlocked file in `ingest/` has no writer that is about to lock it."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Ingest:
    """The `blobs/sha256` and `ingest` folders of a layout; makes them and sweeps the latter."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = root / "blobs" / "sha256"
        self._temporary = root / "ingest"
        self._blobs.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(exist_ok=True)
        self._sweep()

    def path(self, digest: str) -> Path:
        """Where the blob is or would be."""
        return self._blobs / check_digest(digest).removeprefix("sha256:")

    def blob(self, descriptor: Descriptor, open_blob: Callable[[], BinaryIO]) -> int:
        """Hold the blob; bytes written, 0 if it was held or could be linked.

        A source is linked instead of copied if it is a whole regular file of this filesystem,
        owned by us, that nobody may write. That mode is a cache's promise never to change the
        file in place, since both names are then one file. The bytes are hashed all the same: no
        digest is taken on trust.
        """
        place = self.path(descriptor.digest)
        with suppress(FileNotFoundError):
            # A file of another size was damaged by something else; it is replaced below.
            if place.stat().st_size == descriptor.size_bytes:
                return 0
        with open_blob() as source:
            if self._may_link(source, descriptor):
                _check(descriptor, *_hash(source, None))
                if self._link(source, place):
                    return 0
                source.seek(0)
            with self._file() as (target, temporary):
                _check(descriptor, *_hash(source, target))
                self._settle(target, temporary, place)
        return descriptor.size_bytes

    def data(self, descriptor: Descriptor, data: bytes) -> int:
        """Hold a blob that is in memory; bytes written, 0 if it was held."""
        return self.blob(descriptor, lambda: io.BytesIO(data))

    def replace(self, place: Path, data: bytes) -> None:
        """Make these the bytes of a file of the layout, at once and for good."""
        with self._file() as (target, temporary):
            target.write(data)
            self._settle(target, temporary, place, mode=0o644)
        _sync_folder(place.parent)

    def read(self, digest: str) -> Iterator[bytes]:
        """The blob, verified before its last chunk; at the first, FileNotFoundError if not held."""
        hashed = hashlib.sha256()
        last = b""
        with self.path(digest).open("rb") as stream:
            while chunk := stream.read(COPY_BYTES):
                if last:
                    yield last
                hashed.update(chunk)
                last = chunk
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise BuildError(
                f"The blob {digest} in {self._root} is damaged: delete that file and build again"
            )
        if last:
            yield last

    def small(self, digest: str, limit: int) -> bytes | None:
        """The bytes of a blob, unverified; None if it isn't held or has more than so many."""
        try:
            with self.path(digest).open("rb") as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError:
            return None
        return data if len(data) <= limit else None

    def remove(self, digests: Iterable[str]) -> None:
        """Let go of blobs; who reads one just now reads it to its end."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)
        self.sync()

    def sync(self) -> None:
        """Return once the names of all blobs put so far survive a power cut."""
        _sync_folder(self._blobs)

    @contextmanager
    def _file(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A file of our own to write, gone afterwards unless it was renamed."""
        handle, name = tempfile.mkstemp(dir=self._temporary)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb", buffering=0) as target:
                fcntl.flock(target, fcntl.LOCK_EX)
                yield target, temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _settle(self, target: BinaryIO, temporary: Path, place: Path, mode: int = 0o444) -> None:
        os.fchmod(target.fileno(), mode)
        os.fsync(target.fileno())
        temporary.rename(place)

    def _may_link(self, source: BinaryIO, descriptor: Descriptor) -> bool:
        try:
            found = os.fstat(source.fileno())
            return (
                stat.S_ISREG(found.st_mode)
                and found.st_nlink > 0
                and not stat.S_IMODE(found.st_mode) & 0o222
                and found.st_uid == os.geteuid()
                and found.st_dev == self._blobs.stat().st_dev
                and found.st_size == descriptor.size_bytes
                and source.tell() == 0
            )
        except (OSError, AttributeError):
            return False

    def _link(self, source: BinaryIO, place: Path) -> bool:
        """Give the open file itself the blob's name; its path may name another file by now."""
        temporary = self._temporary / f"link-{os.urandom(8).hex()}"
        handle = source.fileno()
        try:
            # CPython follows the link of /proc only when a folder's handle is given too, which
            # an absolute path makes meaningless.
            os.link(f"/proc/self/fd/{handle}", temporary, src_dir_fd=handle, follow_symlinks=True)
        except OSError:
            return False
        try:
            os.fsync(handle)
            temporary.rename(place)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _sweep(self) -> None:
        """Remove what dead writers left: a living one holds a lock on its file."""
        for left in self._temporary.iterdir():
            with suppress(OSError), left.open("rb") as stream:
                if time.time() - os.fstat(stream.fileno()).st_mtime > ABANDONED_AFTER_S:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn what a disk says into the two errors that a person can act on."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"No space is left in {root}: delete old versions or give it a larger disk"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise StoreRefusedError(
                f"{root} can't be written ({error.strerror}): allow it, or name another folder"
            ) from error
        raise


def _hash(source: BinaryIO, target: BinaryIO | None) -> tuple[str, int]:
    """Digest and size of what is read, written to the target on the way."""
    hashed = hashlib.sha256()
    size_bytes = 0
    while chunk := source.read(COPY_BYTES):
        hashed.update(chunk)
        size_bytes += len(chunk)
        view = memoryview(chunk)
        while target is not None and view:
            view = view[target.write(view) :]
    return f"sha256:{hashed.hexdigest()}", size_bytes


def _check(descriptor: Descriptor, digest: str, size_bytes: int) -> None:
    if (digest, size_bytes) != (descriptor.digest, descriptor.size_bytes):
        raise BuildError(
            f"The bytes of {descriptor.digest} do not hash to their name: delete them from the "
            "cache and build again"
        )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
