"""Uploaded folders, kept under the hash of their bytes before any build refers to them."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from isal import igzip, isal_zlib

from api.builds.request import checked_name
from api.problems import ProblemError, Slug
from api.settings import ApiSettings
from api.text import human

_CHUNK = 1 << 20
_MAX_HEADER_BYTES = 64 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_HEADERS = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)

# isal's types call its exception a value.
_INFLATE_ERROR = cast("type[Exception]", isal_zlib.IsalError)
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, EOFError, _INFLATE_ERROR)


@dataclass(frozen=True, slots=True)
class Upload:
    """An archive in DATA/uploads/SHA256."""

    sha256: str
    size_bytes: int


def folder(settings: ApiSettings) -> Path:
    """Where uploads are kept."""
    return settings.data / "uploads"


def keep(settings: ApiSettings, stream: IO[bytes]) -> Upload:
    """Check the archive's size, form and names, and keep it; raises ProblemError.

    It is on disk for good when this returns. The worker checks again what it unpacks.
    """
    place = folder(settings)
    place.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".new-", dir=place)
    new = Path(name)
    try:
        with os.fdopen(handle, "w+b") as copy:
            sha256, size_bytes = _copy(stream, copy, settings.max_archive_bytes)
            _check(copy, settings)
            copy.flush()
            os.fsync(copy.fileno())
        new.replace(place / sha256)
        _sync(place)
    finally:
        new.unlink(missing_ok=True)
    return Upload(sha256, size_bytes)


def _copy(stream: IO[bytes], copy: IO[bytes], limit: int) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK):
        size_bytes += len(chunk)
        if size_bytes > limit:
            raise ProblemError(
                Slug.TOO_LARGE,
                f"The archive is over {human(limit)}; leave data out of the folder, or build from "
                "a git repository.",
            )
        digest.update(chunk)
        copy.write(chunk)
    return digest.hexdigest(), size_bytes


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _SmallHeaders(tarfile.TarInfo):
    """Refuses extended headers that tarfile would read into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _SmallHeaders:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _HEADERS and info.size > _MAX_HEADER_BYTES:
            raise _refused("it has an oversized header")
        return info


class _Limited:
    """A stream that may not give more than so many bytes: a small gzip can hold terabytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self._left -= len(data)
        if self._left < 0:
            raise ProblemError(
                Slug.TOO_LARGE,
                f"The archive unpacks to over {human(self._limit)}; leave data out of the folder.",
            )
        return data


def _check(copy: IO[bytes], settings: ApiSettings) -> None:
    """Go through the archive's entries without writing any."""
    copy.seek(0)
    zipped = copy.read(2) == _GZIP_MAGIC
    copy.seek(0)
    plain = _inflated(copy) if zipped else copy
    limited = cast("IO[bytes]", _Limited(plain, settings.max_unpacked_bytes))
    entries = files = 0
    try:
        # The stream form reads forwards only, as the worker will.
        with tarfile.open(fileobj=limited, mode="r|", tarinfo=_SmallHeaders) as archive:
            for member in archive:
                entries += 1
                files += not member.isdir()
                _check_member(member)
                if files > settings.max_files or entries > 2 * settings.max_files:
                    raise ProblemError(
                        Slug.TOO_LARGE,
                        f"The archive holds over {settings.max_files:,} files; leave data out of "
                        "the folder.",
                    )
    except _DAMAGED as error:
        raise _refused("it is damaged, or no .tar or .tar.gz") from error
    except ValueError as error:
        raise _refused("it can't be read to its end") from error
    if not files:
        raise _refused("there is no file in it")


def _inflated(copy: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", igzip.open(copy, "rb"))  # type: ignore[no-untyped-call]


def _check_member(member: tarfile.TarInfo) -> None:
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise _refused(f"{member.name[:100]!r} is no file, folder or link", member.name)
    if member.isdir() and member.name in (".", "./", ""):
        return
    try:
        checked_name(member.name)
    except (ValueError, UnicodeEncodeError) as error:
        reason = "a name is not UTF-8" if isinstance(error, UnicodeEncodeError) else str(error)
        raise _refused(reason, member.name) from error


def _refused(reason: str, name: str = "") -> ProblemError:
    shown = name[:200].encode(errors="replace").decode()
    return ProblemError(
        Slug.INVALID_REQUEST,
        f"The archive is refused because {reason}; pack the folder again.",
        about={"file": shown} if shown else None,
    )


def read_text(settings: ApiSettings, sha256: str, name: str) -> str | None:
    """The text of a file at the top of a kept archive; None where there is none to show."""
    try:
        with (
            (folder(settings) / sha256).open("rb") as file,
            tarfile.open(fileobj=file, mode="r:*") as archive,
        ):
            for member in archive:
                if member.isfile() and member.name.removeprefix("./") == name:
                    if member.size > settings.max_text_bytes:
                        return None
                    found = archive.extractfile(member)
                    return None if found is None else found.read().decode()
    except (OSError, UnicodeDecodeError, *_DAMAGED):
        pass
    return None
