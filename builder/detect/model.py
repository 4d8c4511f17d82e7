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
    PIPFILE_LOCK = "Pipfile.lock"
    PIPFILE = "Pipfile"
    EMPTY = "empty"
    BINDER = "binder"


class Buildpack(StrEnum):
    """Who turns the files into an image; all but PYTHON are repo2docker's own."""

    PYTHON = "python"
    DOCKERFILE = "dockerfile"
    JULIA = "julia"
    NIX = "nix"
    R = "r"
    CONDA = "conda"


@dataclass(frozen=True, slots=True)
class Detected:
    """What a source asks for.

    `why` is one sentence for people. `files` decided or are used, as names relative to the
    checkout, the main one first. `config_dir` is "", "binder" or ".binder". `subdir` is the
    folder of the checkout that is the source, "" for all of it. `python` is an explicit pin such as
    3.11 or 3.11.4; `requires_python` is a version specifier such as >=3.10; both may be None.

    `kind` is BINDER where one of repo2docker's buildpacks installs the packages. For ours, `apt`,
    `post_build` and `start` name the files that add to it, and `install` is what pip has to install
    in a container: `.`, the source itself, or `-r`, the lines that have to be built.
    """

    way: Way
    kind: Kind
    why: str
    files: tuple[str, ...]
    config_dir: str = ""
    subdir: str = ""
    python: str | None = None
    requires_python: str | None = None
    buildpack: Buildpack = Buildpack.PYTHON
    apt: str | None = None
    post_build: str | None = None
    start: str | None = None
    install: tuple[str, ...] = ()

    @property
    def needs_engine(self) -> bool:
        """Whether code has to run to make the image; a `start` script only lies in it."""
        ours = self.buildpack is Buildpack.PYTHON
        return not ours or bool(self.apt or self.post_build or self.install)


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
    package name to the only index it may come from. `files` are all files that were read. `left`
    are the lines that have to be built, where they were asked to be left out.
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
    left: tuple[str, ...] = ()
