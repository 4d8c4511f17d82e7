"""Read a Pipfile.lock or a Pipfile as requirements, with development packages as Binder does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.detect.files import read_text, read_toml
from builder.detect.lines import needs_engine, read_line, short
from builder.detect.model import Asked, Kind, Requirements
from builder.detect.requirements import index_url
from builder.errors import EngineNeededError, InvalidSpecError
from builder.source.names import shown

_TABLES = {Kind.PIPFILE: ("packages", "dev-packages"), Kind.PIPFILE_LOCK: ("default", "develop")}
_BUILT = ("git", "hg", "svn", "bzr", "path", "file", "editable")
MAX_LOCK_BYTES = 16 << 20


def read_pipfile(root: Path, name: str, *, leave: bool = False) -> Requirements:
    """The packages of the file, with the hashes of a lock; `leave` sets aside what must be built.

    Raises InvalidSpecError, EngineNeededError (a package from a repository or a folder).
    """
    lock = name.endswith(".lock")
    data = _json(root, name) if lock else read_toml(root, name)
    kind = Kind.PIPFILE_LOCK if lock else Kind.PIPFILE
    asked: dict[str, Asked] = {}
    left: list[str] = []
    for table in _TABLES[kind]:
        for package, wanted in _table(data, table, name).items():
            try:
                found = _asked(package, wanted, name)
            except EngineNeededError:
                if not leave:
                    raise
                left.append(_line_for_pip(package, wanted))
                continue
            asked.setdefault(found.name, found)
    indexes = _indexes(data, name)
    return Requirements(
        asked=tuple(asked.values()),
        index_url=indexes[0] if indexes else None,
        extra_index_urls=tuple(indexes[1:]),
        files=(name,),
        left=tuple(left),
    )


def python_of(root: Path, name: str) -> str | None:
    """The Python that a Pipfile or its lock asks for, such as 3.11; None if it doesn't say."""
    if name.endswith(".lock"):
        requires = _table(_table(_json(root, name), "_meta", name), "requires", name)
    else:
        requires = _table(read_toml(root, name), "requires", name)
    said = requires.get("python_version") or requires.get("python_full_version")
    return str(said) if said else None


def _asked(package: str, wanted: object, file: str) -> Asked:
    if isinstance(wanted, str):
        return read_line(package + ("" if wanted == "*" else wanted), file, 1)
    if not isinstance(wanted, dict):
        raise InvalidSpecError(
            f"{file}: what '{shown(package)}' asks for can't be read; write a version.", file=file
        )
    if any(key in wanted for key in _BUILT):
        raise needs_engine(f"'{short(package)}'", file, 1)
    extras = ",".join(map(str, wanted.get("extras", [])))
    version = str(wanted.get("version", "*"))
    markers = str(wanted.get("markers", ""))
    text = package + (f"[{extras}]" if extras else "") + ("" if version == "*" else version)
    hashes = "".join(f" --hash={each}" for each in wanted.get("hashes", []))
    return read_line(text + (f" ; {markers}" if markers else "") + hashes, file, 1)


def _line_for_pip(package: str, wanted: Mapping[str, Any]) -> str:
    """How pip is told of a package that has to be built."""
    if url := wanted.get("git"):
        ref = f"@{wanted['ref']}" if wanted.get("ref") else ""
        line = f"git+{url}{ref}#egg={package}"
    else:
        line = str(wanted.get("path") or wanted.get("file") or ".")
    return f"-e {line}" if wanted.get("editable") else line


def _json(root: Path, name: str) -> Mapping[str, Any]:
    try:
        data = json.loads(read_text(root, name, MAX_LOCK_BYTES))
    except (ValueError, RecursionError) as error:
        raise InvalidSpecError(
            f"'{name}' is not JSON; run `pipenv lock` again.", file=name
        ) from error
    if not isinstance(data, dict):
        raise InvalidSpecError(f"'{name}' is no lock; run `pipenv lock` again.", file=name)
    return data


def _table(data: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise InvalidSpecError(f"'{name}': '{key}' is not a table; correct it.", file=name)
    return value


def _indexes(data: Mapping[str, Any], name: str) -> list[str]:
    """The sources but PyPI, which stands in every Pipfile and means the server's own index."""
    meta = data.get("_meta") if name.endswith(".lock") else None
    listed = (_table(data, "_meta", name) if meta else data).get(
        "sources" if name.endswith(".lock") else "source", []
    )
    urls = [each.get("url") for each in listed if isinstance(each, dict)]
    return [index_url(str(url), name, 1) for url in urls if not _is_pypi(str(url))]


def _is_pypi(url: str) -> bool:
    return url.removesuffix("/") in ("https://pypi.org/simple", "https://pypi.python.org/simple")
