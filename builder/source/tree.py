"""Put files of a folder, of an archive or from memory below a fresh folder, never outside it."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from builder.errors import CancelledError, InvalidSpecError, SourceNotFoundError, TooLargeError
from builder.source.model import ArchiveSource, FilesSource, FolderSource, SourcePolicy
from builder.source.names import MAX_NAME_BYTES, Meter, parts_of

_CHUNK = 1 << 20
_MAX_HEADER_BYTES = 64 << 10
_LEFT_OUT = frozenset({".git", "__pycache__", ".ipynb_checkpoints"})


class Tree:
    """A folder being filled: files first, links last, so that no write ever goes through a link."""

    def __init__(self, root: Path, meter: Meter, policy: SourcePolicy) -> None:
        self.root = root
        self.meter = meter
        self.policy = policy
        self._links: list[tuple[Path, str, str]] = []

    def folder(self, parts: tuple[str, ...], name: str) -> None:
        """Make a folder and its parents."""
        place = self.root.joinpath(*parts)
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise _twice(name) from error

    def file(self, parts: tuple[str, ...], name: str, data: IO[bytes], executable: bool) -> None:
        """Write one regular file; a name that is there already is refused."""
        self.folder(parts[:-1], name)
        self.meter.file()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self.root.joinpath(*parts), flags, 0o755 if executable else 0o644)
        except (FileExistsError, IsADirectoryError) as error:
            raise _twice(name) from error
        with os.fdopen(handle, "wb") as out:
            while chunk := data.read(_CHUNK):
                self.meter.add(len(chunk))
                out.write(chunk)
        if self.policy.cancelled():
            raise CancelledError("The build was cancelled while its files were read.")

    def link(self, parts: tuple[str, ...], name: str, target: str) -> None:
        """Remember a symbolic link; `finish` makes it."""
        if not target or "\0" in target or len(target) > MAX_NAME_BYTES:
            raise _outside(name)
        self.meter.file()
        self._links.append((self.root.joinpath(*parts), name, target))

    def finish(self) -> None:
        """Make the links, and refuse by name any that leads out of the folder."""
        for place, name, _ in self._links:
            # All folders before any link, or a link's parent could be a link that leads outside.
            self.folder(place.relative_to(self.root).parts[:-1], name)
        for place, name, target in self._links:
            try:
                place.symlink_to(target)
            except FileExistsError as error:
                raise _twice(name) from error
        for place, name, _ in self._links:
            if not leads_inside(place, self.root):
                raise _outside(name)


def leads_inside(place: Path, root: Path) -> bool:
    """Whether a link is relative and everything it leads to lies below `root`."""
    try:
        if place.readlink().is_absolute():
            return False
        end = place.resolve()
    except (OSError, RuntimeError) as error:
        # A loop of links leads nowhere, and so not outside either.
        return isinstance(error, RuntimeError) or error.errno == errno.ELOOP
    return end.is_relative_to(root.resolve())


def copy_folder(source: FolderSource, tree: Tree) -> None:
    """Copy a folder of this machine."""
    if not source.path.is_dir():
        raise SourceNotFoundError(f"There is no folder '{source.path}'; check the path.")
    for entry, parts in _walk(source.path, ()):
        name = "/".join(parts)
        parts_of(name)
        if entry.is_symlink():
            tree.link(parts, name, str(Path(entry.path).readlink()))
        elif entry.is_dir(follow_symlinks=False):
            tree.meter.file()
            tree.folder(parts, name)
        elif entry.is_file(follow_symlinks=False):
            # Opened without following, since the entry may have been swapped for a link since.
            handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as data:
                executable = bool(os.fstat(handle).st_mode & stat.S_IXUSR)
                tree.file(parts, name, data, executable)
        else:
            raise _special(name)


def _walk(
    folder: Path, above: tuple[str, ...]
) -> Iterator[tuple[os.DirEntry[str], tuple[str, ...]]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except PermissionError as error:
        raise SourceNotFoundError(
            f"The folder '{folder}' may not be read; check its mode."
        ) from error
    for entry in entries:
        inner = entry.is_dir(follow_symlinks=False)
        if entry.name in _LEFT_OUT or (inner and (Path(entry.path) / "pyvenv.cfg").is_file()):
            continue
        parts = (*above, entry.name)
        yield entry, parts
        if inner:
            yield from _walk(Path(entry.path), parts)


def write_files(source: FilesSource, tree: Tree) -> None:
    """Write files that came in a request."""
    for name in sorted(source.files):
        parts = parts_of(name)
        if not parts or name.endswith("/"):
            raise InvalidSpecError(f"'{name}' names no file; give a name such as requirements.txt.")
        tree.file(parts, name, io.BytesIO(source.files[name]), executable=False)


class _SmallHeaders(tarfile.TarInfo):
    """Refuses extended headers that tarfile would read into memory whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _SmallHeaders:
        info = super().frombuf(buf, encoding, errors)
        extended = not (
            info.isreg() or info.isdir() or info.issym() or info.islnk() or info.isdev()
        )
        if extended and info.size > _MAX_HEADER_BYTES:
            raise TooLargeError("The archive has an oversized header; make it anew with plain tar.")
        return info


def unpack_archive(source: ArchiveSource, tree: Tree) -> None:
    """Unpack a tar or tar.gz."""
    try:
        with source.path.open("rb") as raw:
            plain = _decompressed(raw)
            with tarfile.open(fileobj=plain, mode="r|", tarinfo=_SmallHeaders) as archive:
                for member in archive:
                    _unpack(member, archive, tree)
    except FileNotFoundError as error:
        raise SourceNotFoundError("The archive is not there; upload it again.") from error
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, UnicodeError) as error:
        raise InvalidSpecError(
            "The archive is damaged or is not a tar or tar.gz; pack the folder again with tar."
        ) from error


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(2)
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw, mode="rb") if magic == b"\x1f\x8b" else raw  # type: ignore[return-value]


def _unpack(member: tarfile.TarInfo, archive: tarfile.TarFile, tree: Tree) -> None:
    parts = parts_of(member.name)
    if member.isdir():
        tree.meter.file()
        tree.folder(parts, member.name)
    elif not parts:
        raise _special(member.name)
    elif member.issym():
        tree.link(parts, member.name, member.linkname)
    elif member.islnk():
        _copy_linked(member, parts, tree)
    elif member.isreg():
        data = archive.extractfile(member)
        if data is None:
            raise _special(member.name)
        tree.file(parts, member.name, data, bool(member.mode & stat.S_IXUSR))
    else:
        raise _special(member.name)


def _copy_linked(member: tarfile.TarInfo, parts: tuple[str, ...], tree: Tree) -> None:
    """A hard link becomes a copy of a file that came before it in the archive."""
    original = tree.root.joinpath(*parts_of(member.linkname))
    if original.is_symlink() or not original.is_file():
        raise InvalidSpecError(
            f"The hard link '{member.name}' points to no file of the archive; pack copies instead.",
            file=member.name,
        )
    with original.open("rb") as data:
        executable = bool(os.fstat(data.fileno()).st_mode & stat.S_IXUSR)
        tree.file(parts, member.name, data, executable)


def _outside(name: str) -> InvalidSpecError:
    return InvalidSpecError(
        f"The link '{name}' leads outside the folder; replace it with a copy.", file=name
    )


def _twice(name: str) -> InvalidSpecError:
    return InvalidSpecError(
        f"'{name}' is there twice, or as a file and a folder; keep one.", file=name
    )


def _special(name: str) -> InvalidSpecError:
    return InvalidSpecError(
        f"'{name}' is a device, pipe or socket; leave it out, for files, folders and links only.",
        file=name,
    )
