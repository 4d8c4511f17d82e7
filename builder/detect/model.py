"""The nouns of detection: what was found, and what its files ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from builder.model import Way


class Kind(StrEnum):
    """Which form the environment is written in."""

    PYLOCK = "pylock.toml"
    UV_LOCK = "uv.lock"
    ENVIRONMENT = "environment.yml"
    REQUIREMENTS = "requirements.txt"
    PYPROJECT = "pyproject.toml"
    EMPTY = "empty"
    BINDER = "binder"


@dataclass(frozen=True, slots=True)
class Detected:
    """What a source asks for.

    `why` is one sentence for people. `files` decided or are used, as names relative to the
    checkout, the main one first. `config_dir` is "", "binder" or ".binder". `subdir` is the
    folder of the checkout that is the source, "" for all of it. `python` is an explicit pin such as
    3.11 or 3.11.4; `requires_python` is a version specifier such as >=3.10; both may be None.
    """

    way: Way
    kind: Kind
    why: str
    files: tuple[str, ...]
    config_dir: str = ""
    subdir: str = ""
    python: str | None = None
    requires_python: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One requirement (PEP 508 text, canonical name) and where it is written; lines count from 1.

    `hashes` are of the form sha256:HEX; one of them must be the wheel's.
    """

    text: str
    name: str
    file: str
    line: int
    hashes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Requirements:
    """Everything that requirement files ask of a resolver.

    `index_url` replaces the server's index, None keeps it. `package_indexes` maps a canonical
    package name to the only index it may come from. `files` are all files that were read.
    """

    asked: tuple[Asked, ...] = ()
    constraints: tuple[Asked, ...] = ()
    overrides: tuple[Asked, ...] = ()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    pre: bool = False
    package_indexes: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
