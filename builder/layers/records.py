"""RECORD, the table of an installed wheel's files: read from the wheel, written as uv writes it.

Source of the rules: the recorded-projects specification of packaging.python.org, and for what it
leaves open what uv does: rows of files that the wheel does not hold are dropped, files without a
row get one with their size alone, and the rows are sorted.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import BinaryIO

from builder.errors import BadWheelError
from builder.layers.wheel import MAX_ENTRIES, Wheel

Row = tuple[str, str, str]
"""Path, hash and size, the last two may be empty."""

_SIGNATURES = (".jws", ".p7s")


def read(wheel: Wheel, file: BinaryIO) -> dict[str, Row]:
    """A row for each file of the wheel but RECORD, by name; the first row of a name counts.

    Raises BadWheelError when there is no RECORD, it can't be read, or it lies about a size; hashes
    are checked where contents are copied.
    """
    text = wheel.read(file, record_name(wheel))
    if text is None:
        raise BadWheelError(f"{wheel.path.name} has no RECORD.")
    listed: dict[str, Row] = {}
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text.decode("utf-8"), newline=""))):
            if number > 2 * MAX_ENTRIES:
                raise BadWheelError(f"{wheel.path.name}: RECORD has too many lines.")
            if not row:
                continue
            if len(row) != 3 or not (row[2] == "" or (row[2].isascii() and row[2].isdigit())):
                raise BadWheelError(f"{wheel.path.name}: a line of RECORD is no path, hash, size.")
            listed.setdefault(row[0], (row[0], row[1], row[2]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadWheelError(f"{wheel.path.name}: RECORD can't be read.") from error
    rows: dict[str, Row] = {}
    for entry in wheel.entries:
        if entry.directory or entry.name == record_name(wheel):
            continue
        if entry.name in listed:
            if listed[entry.name][2] not in ("", str(entry.size_bytes)):
                raise BadWheelError(
                    f"{wheel.path.name}: {entry.name!r} has {entry.size_bytes:,} bytes, and RECORD "
                    "says otherwise; ask for another version of the package."
                )
            rows[entry.name] = listed[entry.name]
        elif not _is_signature(wheel, entry.name):
            rows[entry.name] = (entry.name, "", str(entry.size_bytes))
    return rows


def write(
    rows: Mapping[str, Row],
    moved: Mapping[str, str],
    replaced: Iterable[str],
    made: Mapping[str, bytes],
    record: str,
) -> bytes:
    """The installed RECORD, with all paths relative to site-packages.

    `rows` are those of the wheel, `moved` says where a file of the wheel went if not to its own
    name, `replaced` names the files of the wheel that `made` has under another content, and
    `record` is the path of RECORD itself.
    """
    gone = frozenset(replaced)
    lines = [
        (moved.get(name, name), digest, size)
        for name, digest, size in rows.values()
        if name not in gone
    ]
    lines += [(path, hash_of(data), str(len(data))) for path, data in made.items()]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(sorted([*lines, (record, "", "")]))
    return out.getvalue().encode()


def record_name(wheel: Wheel) -> str:
    """The name of RECORD inside the wheel."""
    return f"{wheel.dist_info}/RECORD"


def hash_of(data: bytes) -> str:
    """`sha256=` and the digest as RECORD has it."""
    return "sha256=" + encode_digest(hashlib.sha256(data).digest())


def encode_digest(digest: bytes) -> str:
    """Unpadded URL-safe base64, as the recorded-projects specification asks."""
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_signature(wheel: Wheel, name: str) -> bool:
    """A signature of RECORD can't be listed in it."""
    return name in {record_name(wheel) + suffix for suffix in _SIGNATURES}
