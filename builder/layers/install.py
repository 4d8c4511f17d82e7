"""Where each file of a wheel goes: the table of an installed wheel, as `uv pip install` leaves it.

Source of the rules: the binary distribution format of packaging.python.org, and for what it leaves
open (headers' place, the modes, what wins) what uv does; tests compare file by file with uv.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from builder.errors import BadWheelError
from builder.layers import records, scripts
from builder.layers.wheel import MAX_ENTRIES, Entry, Wheel

FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Prefix:
    """An environment's place in an image: `/opt/env` and a minor Python version such as 3.11."""

    path: str
    python: str

    @property
    def site_packages(self) -> str:
        return f"lib/python{self.python}/site-packages"

    @property
    def interpreter(self) -> str:
        return f"{self.path}/bin/python"


@dataclass(frozen=True, slots=True)
class Copied:
    """A file taken from the wheel unchanged; `path` is relative to the prefix."""

    path: str
    mode: int
    entry: Entry
    record_hash: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """A file whose content the installation makes."""

    path: str
    mode: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Installed:
    """All files and folders of one wheel under the prefix, no path twice.

    `copied` are in archive order, `written` sorted by path; `folders` holds the wheel's explicit
    and implied folders, sorted, none of them the prefix itself.
    """

    copied: tuple[Copied, ...]
    written: tuple[Written, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an entry goes, relative to the prefix."""

    path: str
    script: bool = False
    moved: bool = False


def plan(wheel: Wheel, file: BinaryIO, prefix: Prefix) -> Installed:
    """Map the wheel's entries to the prefix; raises BadWheelError for what no installer accepts."""
    _check_version(wheel, file)
    rows = records.read(wheel, file)
    points = scripts.entry_points(wheel, file, prefix.interpreter, prefix.python)
    made = {f"bin/{name}": text for name, text in points.items()}
    moved: dict[str, str] = {}
    replaced: list[str] = []
    copied: dict[str, Copied] = {}
    explicit_folders: list[str] = []
    for entry in wheel.entries:
        place = _place(wheel, entry, prefix)
        if place is None or entry.name == records.record_name(wheel):
            continue
        if entry.directory:
            explicit_folders.append(place.path)
            continue
        if place.path.endswith("/__pycache__"):
            raise BadWheelError(f"{wheel.path.name}: {entry.name!r} must be a folder.")
        if place.script and place.path.removeprefix("bin/") in points:
            continue  # uv leaves the script out, and its row of RECORD as it is
        if place.moved:
            moved[entry.name] = _from_site(place.path, prefix)
        if place.script:
            text = scripts.with_interpreter(wheel, file, entry, prefix.interpreter)
            if text is not None:
                made[place.path] = text
                replaced.append(entry.name)
                continue
        mode = EXECUTABLE_MODE if entry.executable or place.script else FILE_MODE
        path = _through_link(place.path)
        record_hash = rows[entry.name][1] if entry.name in rows else None
        if path not in copied or place.moved:  # what .data holds is installed last
            copied[path] = Copied(path, mode, entry, record_hash)
    info = f"{prefix.site_packages}/{wheel.dist_info}"
    executable = set(made)  # so far these are commands
    record = wheel.entry(records.record_name(wheel))
    if record and record.executable:
        executable.add(f"{info}/RECORD")  # rewritten in place, so it keeps its mode
    made |= {f"{info}/INSTALLER": b"uv", f"{info}/REQUESTED": b""}
    relative = {_from_site(path, prefix): data for path, data in made.items()}
    made[f"{info}/RECORD"] = records.write(
        rows, moved, replaced, relative, records.record_name(wheel)
    )
    kept = tuple(item for path, item in copied.items() if path not in made)
    written = tuple(
        Written(path, EXECUTABLE_MODE if path in executable else FILE_MODE, data)
        for path, data in sorted(made.items())
    )
    files = {*made, *(item.path for item in kept)}
    return Installed(kept, written, _folders(wheel, files, explicit_folders, prefix))


def _check_version(wheel: Wheel, file: BinaryIO) -> None:
    text = wheel.read(file, f"{wheel.dist_info}/WHEEL")
    found = re.search(rb"(?mi)^Wheel-Version:\s*(\d+)\.", text or b"")
    if found is None or found[1] != b"1":
        raise BadWheelError(f"{wheel.path.name} is not a wheel of format version 1.x.")


def _normalised_name(wheel: Wheel) -> str:
    """The distribution's name as indexes write it."""
    name = wheel.dist_info.removesuffix(".dist-info").rpartition("-")[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _place(wheel: Wheel, entry: Entry, prefix: Prefix) -> _Place | None:
    name = entry.name.removesuffix("/")
    if not f"{name}/".startswith(wheel.data_dir):
        return _Place(f"{prefix.site_packages}/{name}")
    scheme, _, rest = name[len(wheel.data_dir) :].partition("/")
    if not rest:
        return None
    match scheme:
        case "purelib" | "platlib":
            return _Place(f"{prefix.site_packages}/{rest}", moved=True)
        case "data":
            if rest.startswith("bin/") and not entry.directory:
                scripts.check_name(wheel, rest.removeprefix("bin/").replace("/", "-"))
            return _Place(rest, moved=True)
        case "headers":
            folder = f"include/site/python{prefix.python}/{_normalised_name(wheel)}"
            return _Place(f"{folder}/{rest}", moved=True)
        case "scripts":
            scripts.check_name(wheel, rest)
            return _Place(f"bin/{rest}", script=True, moved=True)
    raise BadWheelError(f"{wheel.path.name}: {name!r} is in an unknown .data scheme.")


def _through_link(path: str) -> str:
    """In an environment `lib64` is a link to `lib`; a folder in a layer would replace it."""
    return "lib" + path.removeprefix("lib64") if path.startswith("lib64/") else path


def _from_site(path: str, prefix: Prefix) -> str:
    """A path relative to the prefix as RECORD has it: relative to site-packages."""
    return posixpath.relpath(path, prefix.site_packages)


def _folders(
    wheel: Wheel, files: set[str], explicit: Iterable[str], prefix: Prefix
) -> tuple[str, ...]:
    """The folders of all files; raises BadWheelError if one of them must be a file too."""
    folders: set[str] = set()
    paths = [*files, *(f"{_through_link(folder)}/" for folder in explicit)]
    for path in (*paths, f"{prefix.site_packages}/", "bin/"):
        parent = path.rpartition("/")[0]
        while parent and parent not in folders:
            folders.add(parent)
            if len(folders) > MAX_ENTRIES:
                raise BadWheelError(f"{wheel.path.name} has over {MAX_ENTRIES:,} folders.")
            parent = parent.rpartition("/")[0]
    clash = sorted(folders & files) or sorted({"lib64"} & (folders | files))
    if clash:
        raise BadWheelError(f"{wheel.path.name}: {clash[0]!r} is both a file and a folder.")
    return tuple(sorted(folders))
