"""Read requirements files with all they include, without leaving the checkout."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import urlsplit

from builder.detect.files import read_text
from builder.detect.lines import (
    bad,
    logical_lines,
    needs_engine,
    read_line,
    short,
    split_options,
)
from builder.detect.model import Asked, Requirements
from builder.errors import EngineNeededError, TooLargeError
from builder.secrets import secret_name

MAX_FILES = 50
MAX_REQUIREMENTS = 5000

_IGNORED = frozenset(
    {"--prefer-binary", "--only-binary", "--require-hashes", "--trusted-host", "--use-feature"}
)


class Reader:
    """Collects what a set of requirements files asks for.

    `leave` makes it set lines aside that have to be built, instead of raising EngineNeededError.
    """

    def __init__(self, root: Path, *, leave: bool = False) -> None:
        self.root = root
        self.leave = leave
        self.left: list[str] = []
        self.asked: list[Asked] = []
        self.constraints: list[Asked] = []
        self.files: list[str] = []
        self.index_url: str | None = None
        self.extra_index_urls: list[str] = []
        self.find_links: list[str] = []
        self.no_index = False
        self.pre = False

    def result(self) -> Requirements:
        """All that was read."""
        return Requirements(
            asked=tuple(self.asked),
            constraints=tuple(self.constraints),
            index_url=self.index_url,
            extra_index_urls=tuple(self.extra_index_urls),
            find_links=tuple(self.find_links),
            no_index=self.no_index,
            pre=self.pre,
            files=tuple(self.files),
            left=tuple(self.left),
        )

    def file(self, name: str, constraint: bool = False) -> None:
        """Read a file, named relative to the checkout; one already read says nothing new."""
        if name in self.files:
            return
        if len(self.files) >= MAX_FILES:
            raise TooLargeError(f"'{name}' is one requirements file too many; merge some of them.")
        self.files.append(name)
        for number, line in logical_lines(read_text(self.root, name)):
            self.line(line, name, number, constraint)

    def line(self, text: str, file: str, number: int, constraint: bool = False) -> None:
        """Read one logical line of `file`."""
        try:
            self._line(text, file, number, constraint)
        except EngineNeededError:
            if not self.leave:
                raise
            self.left.append(text)

    def _line(self, text: str, file: str, number: int, constraint: bool) -> None:
        if text.startswith("-"):
            if "${" in text:
                # read_line explains that variables are not expanded.
                read_line(text, file, number)
            for option, value in split_options(text, file, number):
                self._option(option, value, file, number, constraint)
            return
        (self.constraints if constraint else self.asked).append(read_line(text, file, number))
        if len(self.asked) + len(self.constraints) > MAX_REQUIREMENTS:
            raise TooLargeError(
                f"'{file}' and what it includes list more than {MAX_REQUIREMENTS} packages; "
                "list fewer.",
                file=file,
            )

    def _option(
        self, option: str, value: str | None, file: str, number: int, constraint: bool
    ) -> None:
        match option:
            case "-r" | "--requirement":
                self.file(self._included(value, file, number), constraint)
            case "-c" | "--constraint":
                self.file(self._included(value, file, number), constraint=True)
            case "-i" | "--index-url":
                self.index_url = index_url(value, file, number)
            case "--extra-index-url":
                self.extra_index_urls.append(index_url(value, file, number))
            case "-f" | "--find-links":
                if value is not None and "://" not in value:
                    raise needs_engine(f"a package from the folder '{short(value)}'", file, number)
                url = index_url(value, file, number)
                if secret_name(url) is not None:
                    what = "names a secret, which is sent to indexes alone; use --extra-index-url"
                    raise bad(file, number, what)
                self.find_links.append(url)
            case "--no-index":
                self.no_index = True
            case "--pre":
                self.pre = True
            case "-e" | "--editable":
                raise needs_engine(f"'{short(value or '.')}'", file, number)
            case "--no-binary" if value != ":none:":
                raise needs_engine(f"{short(value or 'everything')} (--no-binary)", file, number)
            case _ if option in _IGNORED or option == "--no-binary":
                pass
            case _:
                raise bad(file, number, f"has the unknown option '{short(option)}'; remove it")

    def _included(self, value: str | None, file: str, number: int) -> str:
        """The included file's name relative to the checkout."""
        if not value:
            raise bad(file, number, "names no file; name one")
        if "://" in value:
            raise bad(file, number, "includes a URL; put that file into the repository instead")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(file), value))
        if posixpath.isabs(value) or name.startswith("../") or name == ".." or "\0" in name:
            raise bad(
                file,
                number,
                f"includes '{short(value)}', which is outside the repository; copy it inside",
            )
        place = self.root / name
        if not place.is_file() or not place.resolve().is_relative_to(self.root.resolve()):
            raise bad(
                file,
                number,
                f"includes '{short(value)}', which is not in the repository; "
                "add it or remove the line",
            )
        return name


def index_url(value: str | None, file: str, number: int) -> str:
    """An http or https URL; raises InvalidSpecError for anything else."""
    try:
        parts = urlsplit(value or "")
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if value is None or not good or not value.isprintable() or len(value) > 2000:
        raise bad(file, number, "needs an http or https URL of a package index; give one")
    user = urlsplit(value).netloc.rpartition("@")[0]
    if user and secret_name(value) is None:
        raise bad(
            file,
            number,
            "has credentials in its URL; ask the operator for a secret, and write "
            "https://{secret:NAME}@HOST/… instead",
        )
    return value
