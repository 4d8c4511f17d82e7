"""Read small text files of a checkout, never anything outside it."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

from builder.errors import InvalidSpecError, TooLargeError

MAX_FILE_BYTES = 1 << 20

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def exists(root: Path, name: str) -> bool:
    """Whether `name` is a regular file of the checkout."""
    place = root / name
    return place.is_file() and place.resolve().is_relative_to(root.resolve())


def read_text(root: Path, name: str, limit_bytes: int = MAX_FILE_BYTES) -> str:
    """The text of a file, UTF-8 unless a byte-order mark says UTF-16 (as PowerShell writes it).

    Raises InvalidSpecError when it is not there, not text or outside `root`, TooLargeError over the
    limit.
    """
    place = (root / name).resolve()
    if not place.is_relative_to(root.resolve()):
        raise InvalidSpecError(f"'{name}' is outside the repository; copy it inside.", file=name)
    if not place.is_file():
        raise InvalidSpecError(f"There is no file '{name}' in the repository; add it.", file=name)
    with place.open("rb") as data:
        raw = data.read(limit_bytes + 1)
    if len(raw) > limit_bytes:
        raise TooLargeError(
            f"'{name}' is larger than {limit_bytes >> 20} MiB; list packages in it, nothing else.",
            file=name,
        )
    encoding = next((name for mark, name in _BOMS if raw.startswith(mark)), "utf-8")
    try:
        return raw.decode(encoding)
    except UnicodeError as error:
        raise InvalidSpecError(
            f"'{name}' is not UTF-8 text; save it as UTF-8.", file=name
        ) from error


def read_toml(root: Path, name: str, limit_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """A TOML file; raises InvalidSpecError with the line where it stops being one."""
    try:
        return tomllib.loads(read_text(root, name, limit_bytes))
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
        line = reason.rpartition("(at line ")[2].partition(",")[0]
        where = {"line": int(line)} if line.isdigit() else {}
        raise InvalidSpecError(
            f"'{name}' is not valid TOML: {reason}.", file=name, **where
        ) from error
    except RecursionError as error:
        raise InvalidSpecError(f"'{name}' is nested too deeply; flatten it.", file=name) from error
