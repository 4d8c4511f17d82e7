"""`pip install …` in a shell script or a notebook's cell: which packages, from which indexes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kitbag.errors import PackError

# https://peps.python.org/pep-0508: a name, extras, then the rest.
REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*"
    r"(?P<rest>(?:[=<>!~;@(].*)?)"
)
_WITH_VALUE = frozenset({"--index-url", "-i", "--extra-index-url", "--trusted-host"})
_FILES = frozenset({"-r", "--requirement", "-c", "--constraint", "-e", "--editable"})


@dataclass(frozen=True)
class Install:
    """What a pip is told to install, in this order, and from where."""

    packages: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    default_index: str | None = None


def installs(script: str, where: str) -> Iterator[list[str]]:
    """The arguments of each `pip install` of a shell script.

    Raises PackError, which begins with `where`, for a script that no shell could read.
    """
    if "install" not in script:
        return
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise PackError(f"{where} starts with a shell script that can't be read: {error}") from None
    while "install" in words:
        at = words.index("install")
        pip = at > 0 and re.fullmatch(r"(?:.*/)?pip3?", words[at - 1]) is not None
        rest = words[at + 1 :]
        ends = (i for i, word in enumerate(rest) if word and set(word) <= set("();<>|&"))
        end = next(ends, len(rest))
        if pip:
            yield rest[:end]
        words = rest[end:] if pip else rest


def install(arguments: Sequence[str], where: str) -> Install:
    """What these arguments of `pip install` ask for.

    Raises PackError, which begins with `where`, for what only the place it runs at could find.
    """
    packages: list[str] = []
    indexes: list[str] = []
    default: str | None = None
    given = [part for word in arguments for part in _parts(word)]
    options = iter(given)
    for word in options:
        value = next(options, "") if word in _WITH_VALUE else ""
        if word in ("--index-url", "-i"):
            default = value
        elif word == "--extra-index-url":
            indexes.append(value)
        elif word in _FILES:
            raise PackError(
                f"{where} gives pip {word}, which can be followed only there: name the packages"
            )
        elif not word.startswith("-"):
            packages.append(_checked(word, where))
    unique = tuple(dict.fromkeys(packages)), tuple(dict.fromkeys(indexes))
    return Install(*unique, default)


def _parts(word: str) -> list[str]:
    """`--option=value` as two words."""
    option, equals, value = word.partition("=")
    return [option, value] if equals and option.startswith("--") else [word]


def _checked(requirement: str, where: str) -> str:
    text = requirement.strip()
    local = text.startswith((".", "/", "~", "file:")) or "\n" in text or "$" in text
    if local or not (REQUIREMENT.fullmatch(text) or re.match(r"(git\+)?https?://", text)):
        raise PackError(
            f"{where} installs {text!r}, which could be found only there: name a package, or a URL"
        )
    return text
