"""Which images a repository's own Dockerfile starts from or copies from, before anything is built.

A line counts wherever it might be read as an instruction, so that no trick with continuations or
here-documents hides one: at worst text that only looks like an instruction is refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.bases.reference import parse_reference
from builder.detect.files import read_text
from builder.detect.lines import short
from builder.errors import BuildError, ForbiddenImageError, InvalidSpecError

_INSTRUCTION = re.compile(
    r"\s*(?:ONBUILD\s+)*(FROM|ARG|COPY|ADD|RUN)\s+(.*)", re.IGNORECASE | re.DOTALL
)
_SYNTAX = re.compile(r"\s*(?:#|//)\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_ESCAPE = re.compile(r"^\s*#\s*escape\s*=\s*`", re.IGNORECASE | re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_NAMED = re.compile(r"--from=(\S+)|[,=]from=([^,\s]+)")
_MAX_LINES = 20_000
_MAX_JOINED = 500
_MAX_MEANINGS = 64
_KNOWN = {"TARGETOS": {"linux"}, "BUILDOS": {"linux"}}


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The images that it names, and the one that its last stage starts from (or that stage's)."""

    name: str
    images: tuple[tuple[int, str], ...]
    base: str


def read_dockerfile(root: Path, name: str, arch: str = "amd64") -> Dockerfile:
    """Read FROM, `--from` and `# syntax` of a Dockerfile; lines count from 1.

    Raises InvalidSpecError when it has no FROM, or names an image by a variable without a value.
    """
    lines = read_text(root, name).splitlines()
    if len(lines) > _MAX_LINES:
        raise InvalidSpecError(f"'{name}' has more than {_MAX_LINES} lines; shorten it.", file=name)
    variables = {key: set(values) for key, values in _KNOWN.items()}
    variables |= {key: {arch} for key in ("TARGETARCH", "BUILDARCH")}
    variables |= {key: {f"linux/{arch}"} for key in ("TARGETPLATFORM", "BUILDPLATFORM")}
    stages: set[str] = set()
    images: list[tuple[int, str]] = []
    base = ""
    for number, kind, rest in _instructions(lines):
        if kind == "SYNTAX":
            images.append((number, rest))
        elif kind == "ARG":
            # Only those above the first FROM count in a FROM; of a name given twice any may win.
            if not base:
                _assign(rest, variables)
        elif kind == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            if words in (["\\"], ["`"]):  # read with the other escape character, it goes on below
                continue
            for image in _meant(words[0] if words else "", variables, name, number):
                if image.lower() not in stages and image != "scratch":
                    images.append((number, image))
                    base = image
                base = base or image
            if len(words) == 3 and words[1].lower() == "as":
                stages.add(words[2].lower())
        else:
            for match in _NAMED.finditer(rest):
                named = (match[1] or match[2]).strip("\"'")
                if not named.isdigit() and named.lower() not in stages:
                    found = _meant(named, variables, name, number)
                    images += [(number, image) for image in found]
    if not base:
        raise InvalidSpecError(f"'{name}' has no FROM; begin it with one.", file=name)
    return Dockerfile(name, tuple(dict.fromkeys(images)), base)


def check(found: Dockerfile, registries: frozenset[str]) -> None:
    """Raise ForbiddenImageError if an image is not from one of the registries.

    An entry is a host, such as docker.io, or a host with the beginning of a path.
    """
    for number, image in found.images:
        try:
            wanted = parse_reference(image)
            place = f"{wanted.host}/{wanted.repo}"
        except BuildError:
            place = ""
        if not any(f"{place}/".startswith(f"{each.rstrip('/')}/") for each in registries if place):
            raise ForbiddenImageError(
                f"{found.name}, line {number}: the image '{short(image)}' is from no registry that "
                f"this server allows; use one of {', '.join(sorted(registries))}.",
                file=found.name,
                line=number,
            )


def _instructions(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    escapes = ("\\", "`") if any(map(_ESCAPE.match, lines[:50])) else ("\\",)
    for start, line in enumerate(lines):
        if syntax := _SYNTAX.match(line):
            yield start + 1, "SYNTAX", syntax[1]
            continue
        for escape in escapes:
            if match := _INSTRUCTION.match(_joined(lines, start, escape)):
                yield start + 1, match[1].upper(), match[2]


def _joined(lines: list[str], start: int, escape: str) -> str:
    """The line with those that continue it; comments and empty lines between don't end it."""
    text = lines[start]
    for more in lines[start + 1 : start + _MAX_JOINED]:
        if not text.rstrip().endswith(escape):
            break
        if more.strip() and not more.lstrip().startswith("#"):
            text = text.rstrip().removesuffix(escape) + more
    return text


def _assign(rest: str, variables: dict[str, set[str]]) -> None:
    try:
        words = shlex.split(rest)
    except ValueError:
        return
    for word in words:
        key, given, value = word.partition("=")
        if given:
            variables.setdefault(key, set()).update(_expanded(value, variables) or {""})


def _meant(text: str, variables: Mapping[str, set[str]], name: str, number: int) -> list[str]:
    """Everything that a name with variables may stand for, sorted."""
    found = _expanded(text.strip("\"'"), variables)
    if not found or "" in found:
        raise InvalidSpecError(
            f"{name}, line {number}: '{short(text)}' names an image by a variable that has no "
            "value; give its ARG a default above the first FROM.",
            file=name,
            line=number,
        )
    return sorted(found)


def _expanded(text: str, variables: Mapping[str, set[str]]) -> set[str]:
    """The text with every combination of its variables' values; none if one has no value."""
    match = _VARIABLE.search(text)
    if match is None:
        return {text}
    known, how, other = variables.get(match[1] or match[2], set()), match[3], match[4]
    values = set(known)
    if how and how.endswith("-"):
        values = {each for each in known if each or how == "-"} or {other}
    elif how:
        values = {other} if known else {""}
    before, after = text[: match.start()], text[match.end() :]
    rest = _expanded(after, variables)
    made = {f"{before}{value}{end}" for value in values for end in rest}
    return made if len(made) <= _MAX_MEANINGS else set()
