"""Read one line of a requirements file: the grammar of pip, as far as no code has to run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)

from builder.detect.model import Asked
from builder.errors import EngineNeededError, InvalidSpecError
from builder.source.names import shown
from builder.source.url import strip_userinfo

MAX_LINE_CHARS = 100_000
_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"\s(?=--?[A-Za-z])")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_HEAD = re.compile(r"[\s;@:\[<>=!~]")
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".zip")
_VCS = re.compile(r"(git|hg|svn|bzr)\+", re.IGNORECASE)


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every line that says something: joined at `\\`, comments gone."""
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if pending else number
        comment = raw.lstrip().startswith("#")
        if raw.endswith("\\") and not comment:
            pending += raw[:-1]
            continue
        # A comment line ends a continued line, as it does for pip.
        line, pending = pending + ("" if comment and pending else raw), ""
        line = _COMMENT.sub("", line).strip()
        if line:
            yield start, line
    line = _COMMENT.sub("", pending).strip()
    if line:
        yield start, line


def read_line(text: str, file: str, line: int) -> Asked:
    """One requirement, with its `--hash` options.

    Raises InvalidSpecError when it is none, EngineNeededError when it names something that has to
    be built: a version-control URL, a source archive, a local path.
    """
    if len(text) > MAX_LINE_CHARS:
        raise bad(file, line, "is too long; split it")
    if "${" in text:
        raise bad(file, line, "uses an environment variable, which nobody expands; write its value")
    if not text.isprintable():
        text = re.sub(r"\s", " ", text)
    body, *options = _OPTION.split(text)
    hashes = _hashes(options, file, line)
    requirement = _requirement(body.strip(), file, line)
    if requirement.url is not None:
        _check_url(requirement.url, file, line)
    return Asked(str(requirement), canonicalize_name(requirement.name), file, line, hashes)


def bad(file: str, line: int, what: str) -> InvalidSpecError:
    """The error for a line that can't be read; `what` follows the file and the line."""
    return InvalidSpecError(f"{file}, line {line} {what}.", file=file, line=line)


def needs_engine(what: str, file: str, line: int) -> EngineNeededError:
    """The error for a line that only a build can satisfy; its `reason` makes a plan's why."""
    reason = f"{file}, line {line}: {what} has to be built from source"
    return EngineNeededError(
        f"{reason}; use a released wheel instead, or build one with `pip wheel` and "
        "publish it on an index.",
        file=file,
        line=line,
        reason=reason,
    )


def _requirement(text: str, file: str, line: int) -> Requirement:
    if _VCS.match(text) or text.startswith((".", "/", "~", "file:")):
        raise needs_engine(f"'{short(text)}'", file, line)
    if _HEAD.split(text, maxsplit=1)[0].lower().endswith(_ARCHIVES):
        raise needs_engine(f"'{short(text)}'", file, line)
    if text.startswith(("http://", "https://")):
        text = _named_url(text, file, line)
    try:
        requirement = Requirement(text)
        if requirement.marker is not None:
            requirement.marker.evaluate({"extra": ""})
    except (InvalidRequirement, ValueError, RecursionError) as error:
        if "/" in text.partition("@")[0]:
            raise needs_engine(f"'{short(text)}'", file, line) from error
        reason = str(error).splitlines()[0].rstrip(".:") if str(error) else "unreadable"
        raise bad(file, line, f"is not a requirement: '{short(text)}' ({short(reason)})") from error
    return requirement


def _named_url(text: str, file: str, line: int) -> str:
    """`name @ url` for a bare URL of a wheel."""
    url, _, marker = text.partition(" ")
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        name = parse_wheel_filename(filename)[0]
    except (InvalidWheelFilename, InvalidSdistFilename, ValueError) as error:
        raise needs_engine(f"'{short(text)}'", file, line) from error
    return f"{name} @ {url} {marker}".strip()


def _check_url(url: str, file: str, line: int) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise bad(file, line, "holds a malformed URL; correct it") from error
    if parts.scheme not in ("http", "https") or not parts.path.lower().endswith(".whl"):
        raise needs_engine(f"'{short(url)}'", file, line)
    if parts.username is not None or parts.password is not None:
        raise bad(file, line, "has credentials in its URL; leave them to the index's settings")


def _hashes(options: list[str], file: str, line: int) -> frozenset[str]:
    found = set()
    for option in options:
        name, separator, value = option.strip().replace(" ", "=", 1).partition("=")
        if name == "--hash" and separator:
            found.add(value.strip())
        elif name in ("--global-option", "--config-settings", "--config-setting", "-C"):
            raise needs_engine(f"a package with the option {name}", file, line)
        else:
            raise bad(file, line, f"has the unknown option '{short(name)}'; remove it")
    usable = frozenset(each for each in found if _HASH.fullmatch(each))
    if found and not usable:
        raise bad(file, line, "has no sha256 hash; add one")
    return usable


def split_options(text: str, file: str, line: int) -> list[tuple[str, str | None]]:
    """The options of a line that begins with a dash, as pairs of name and value."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise bad(file, line, "has an unclosed quote; close it") from error
    pairs: list[tuple[str, str | None]] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--"):
            name, separator, value = word.partition("=")
        else:
            name, value = word[:2], word[2:].removeprefix("=")
            separator = value
        if not separator and position < len(words) and not words[position].startswith("-"):
            value = words[position]
            position += 1
        pairs.append((name, value or None))
    return pairs


def short(text: str) -> str:
    """A piece of a user's file as it may stand in a message: without credentials, in 80 letters."""
    piece = shown(strip_userinfo(text))
    return piece if len(piece) <= 80 else piece[:79] + "…"
