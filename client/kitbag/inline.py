"""A requirements file, or another file that names packages, as texts for the request itself."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from kitbag.errors import PackError

MAX_TOTAL_BYTES = 1024 * 1024
MAX_FILES = 64

# Files whose name says what they are, with what belongs beside them.
_KNOWN: dict[str, tuple[str, ...]] = {
    "pyproject.toml": ("uv.lock",),
    "uv.lock": ("pyproject.toml",),
    "pylock.toml": (),
    "environment.yml": (),
    "environment.yaml": (),
}
_REQUIREMENTS = "requirements.txt"
# pip's `-r FILE`, `--requirement=FILE`, `-c FILE`: https://pip.pypa.io, requirements file format.
_INCLUDE = re.compile(
    r"^\s*(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-r)|(?<=-c))(?P<file>[^\s#]+)"
)


def texts(path: Path) -> dict[str, str]:
    """The file's text and those of the files it includes, by relative path.

    A requirements file of another name, such as requirements-gpu.txt, comes with a requirements.txt
    that includes it. Raises PackError for what can't be read or included.
    """
    if path.name in _KNOWN:
        names = (path.name, *_KNOWN[path.name])
        return _checked(
            {name: _text(path.parent / name) for name in names if (path.parent / name).is_file()}
        )
    if path.suffix not in (".txt", ".in"):
        known = ", ".join((_REQUIREMENTS, *_KNOWN))
        raise PackError(f"{path} is none of {known}: give one of them, or the folder it is in")
    files = _with_includes(path)
    if path.name == _REQUIREMENTS:
        return _checked(files)
    if _REQUIREMENTS in files:
        # The name is taken by an included file: all of them move a folder down.
        files = {f"requirements/{name}": text for name, text in files.items()}
        return _checked({_REQUIREMENTS: f"-r requirements/{path.name}\n", **files})
    return _checked({_REQUIREMENTS: f"-r {path.name}\n", **files})


def _with_includes(first: Path) -> dict[str, str]:
    """Texts by path relative to the folder of the first file."""
    folder = first.parent
    found: dict[str, str] = {}
    waiting = [PurePosixPath(first.name)]
    while waiting:
        name = waiting.pop()
        if str(name) in found:
            continue
        if len(found) >= MAX_FILES:
            raise PackError(
                f"{first} includes more than {MAX_FILES} files: build its folder instead"
            )
        found[str(name)] = text = _text(folder / name)
        for number, line in enumerate(text.splitlines(), 1):
            match = _INCLUDE.match(line)
            # A URL is for the server to read.
            if match and "://" not in match["file"]:
                waiting.append(_below(folder / name, number, name.parent, match["file"]))
    return found


def _below(file: Path, line: int, folder: PurePosixPath, include: str) -> PurePosixPath:
    parts: list[str] = []
    climbs = PurePosixPath(include).is_absolute()
    for part in (folder / include).parts:
        if part == "..":
            climbs = climbs or not parts
            parts = parts[:-1]
        else:
            parts.append(part)
    if climbs or not parts:
        raise PackError(
            f"{file}:{line}: {include} lies outside the folder of the file that was given: build a"
            " folder that holds both"
        )
    if not file.parent.joinpath(include).is_file():
        raise PackError(f"{file}:{line}: {include} is not there: add the file or drop the line")
    return PurePosixPath(*parts)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TOTAL_BYTES + 1)
        if len(data) > MAX_TOTAL_BYTES:
            raise PackError(
                f"{path} is over {MAX_TOTAL_BYTES >> 20} MiB: no list of packages needs that"
            )
        return data.decode("utf-8-sig")
    except OSError as error:
        raise PackError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PackError(f"{path} is not UTF-8 text: save it as such") from error


def _checked(files: dict[str, str]) -> dict[str, str]:
    if sum(len(text.encode()) for text in files.values()) > MAX_TOTAL_BYTES * 9 // 10:
        raise PackError(
            f"{', '.join(files)} are over what one request takes: build their folder instead"
        )
    return files
