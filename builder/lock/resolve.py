"""Resolve requirements by uv, asking the index only for what the last lock does not hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from builder.choices import Choices, IndexStrategy
from builder.detect import Asked, Requirements
from builder.errors import NoWheelError, UnresolvableError
from builder.lock import pylock
from builder.lock.failures import explain
from builder.lock.model import Target, UvSettings
from builder.lock.uv import Credentials, Indexes, Uv, own_index
from builder.model import Lock, LockedWheel
from builder.secrets import without_user
from builder.source.process import Ran

_SEED_FILE = "the seed packages"
_MAX_ROUNDS = 3


class Resolver:
    """One resolution: its files, its uv, and what it was told to keep."""

    def __init__(
        self,
        wanted: Requirements,
        target: Target,
        settings: UvSettings,
        folder: Path,
        previous: Lock | None,
        choices: Choices,
        *,
        upgrade: bool,
    ) -> None:
        self.wanted = wanted
        self.target = target
        self.uv = Uv(settings, folder)
        self.folder = folder
        self.previous = None if upgrade else previous
        self.upgrade = upgrade
        self._choices = choices
        self._options = self._write_options(settings, choices)

    def lock(self) -> Lock:
        """The lock of everything wanted; a package without a wheel is built, where that can be.

        Raises UnresolvableError, NoWheelError, IndexUnreachableError and InvalidSpecError.
        """
        while True:
            try:
                return self._lock()
            except NoWheelError as error:
                if not self._build(str(error.extra.get("package", ""))):
                    raise

    def _build(self, name: str) -> bool:
        """Build the package that has no wheel; whether there is one now."""
        built = self.uv.settings.sdists
        if built is None or not name or self._choices.exclude_newer is not None:
            return False
        asked = (*self.wanted.asked, *self.wanted.constraints)
        specifier = SpecifierSet()
        for each in asked:
            if each.name == name:
                specifier &= Requirement(each.text).specifier
        bound = self.wanted.package_indexes.get(name)
        return built.add(name, specifier, [bound] if bound else self._indexes)

    def _lock(self) -> Lock:
        if self.previous is not None:
            found = self._from_cache(self.previous)
            if found is not None:
                return self._checked(found)
        ran, found = self._run(self.wanted.asked, ("--refresh",) if self.upgrade else ())
        if found is None and not self.upgrade and _unsatisfied(ran):
            # The cache may hold an index page from before the version that is asked for.
            ran, found = self._run(self.wanted.asked, ("--refresh",))
        if found is None:
            raise explain(ran, self.wanted.asked, self.target)
        return self._checked(found)

    def _from_cache(self, previous: Lock) -> Lock | None:
        """The lock by the cache alone, once the index has been asked about new packages.

        A package counts as new when the last lock has it not, or in a version that no longer fits.
        None when the cache does not suffice.
        """
        known = {wheel.name: wheel for wheel in previous.wheels}
        new = {each.name for each in self.wanted.asked if not self._kept(each, known)}
        fresh: set[str] = set()
        for _ in range(_MAX_ROUNDS):
            if new:
                ran, asked = self._run(self._lines_for(new), ())
                if asked is None:
                    if _unsatisfied(ran):
                        return None
                    raise explain(ran, self.wanted.asked, self.target)
                fresh |= new | {wheel.name for wheel in asked.wheels}
            found = self._run(self.wanted.asked, ("--offline",))[1]
            if found is None:
                return None
            new = {
                wheel.name
                for wheel in found.wheels
                if wheel.name not in fresh
                and (wheel.name not in known or known[wheel.name].version != wheel.version)
            }
            if not new:
                return found
        return None

    def _kept(self, asked: Asked, known: Mapping[str, LockedWheel]) -> bool:
        """Whether a requirement asks for nothing but what is known already."""
        requirement = Requirement(asked.text)
        environment = cast("dict[str, str]", self.target.environment())
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            return True
        wheel = known.get(asked.name)
        if wheel is None:
            return False
        if requirement.url is not None:
            return requirement.url.partition("#")[0] == wheel.url
        return requirement.specifier.contains(wheel.version, prereleases=True)

    def _lines_for(self, names: Collection[str]) -> tuple[Asked, ...]:
        direct = tuple(each for each in self.wanted.asked if each.name in names)
        indirect = set(names) - {each.name for each in direct}
        return direct + tuple(Asked(name, name, "", 0) for name in sorted(indirect))

    def _run(self, asked: Sequence[Asked], more: Sequence[str]) -> tuple[Ran, Lock | None]:
        source = self._write_source(asked)
        output = self.folder / "pylock.out.toml"
        output.unlink(missing_ok=True)
        if self.previous is not None:
            # uv prefers the versions that it finds in its output file.
            output.write_text(self.previous.text)
        ran = self.uv.compile(self.target, source, output, (*self._options, *more))
        if ran.status:
            return ran, None
        document = pylock.load(output.read_text(), "pylock.toml")
        built = self.uv.settings.sdists
        known = built.locked if built is not None else {}
        wheels, direct = pylock.select(document, self.target, "", built=known)
        return ran, pylock.make(wheels, direct, self.target)

    def _write_options(self, settings: UvSettings, choices: Choices) -> tuple[str, ...]:
        wanted = self.wanted
        default = wanted.index_url or settings.index_url or own_index()
        named = (*wanted.extra_index_urls, *settings.extra_index_urls, default)
        self._indexes = [] if wanted.no_index else [url for url in named if url]
        built = [str(settings.sdists.folder)] if settings.sdists is not None else []
        self.uv.credentials |= Indexes(
            default=default,
            extra=settings.extra_index_urls,
            users=wanted.extra_index_urls,
            find_links=(*(without_user(url) for url in wanted.find_links), *built),
            no_index=wanted.no_index,
            pre=wanted.pre,
            strategy=choices.index_strategy or IndexStrategy(settings.index_strategy),
            exclude_newer=choices.exclude_newer,
        ).write(self.folder, settings.secrets)
        options: list[str] = []
        for option, lines in (("constraints", wanted.constraints), ("overrides", wanted.overrides)):
            if lines:
                file = self.folder / f"{option}.txt"
                file.write_text("".join(f"{each.text}\n" for each in lines))
                options.append(f"--{option}={file}")
        return tuple(options)

    def _write_source(self, asked: Sequence[Asked]) -> Path:
        """The file that uv reads: parsed and written anew, so it holds no options."""
        bound = self.wanted.package_indexes
        if not bound:
            source = self.folder / "requirements.in"
            source.write_text("".join(f"{each.text}\n" for each in asked))
            return source
        urls = sorted(set(bound.values()))
        names = {url: f"index-{position}" for position, url in enumerate(urls)}
        lines = ["[project]", 'name = "kitbag-environment"', 'version = "0"']
        lines.append(f"dependencies = {json.dumps([each.text for each in asked])}")
        lines.append("[tool.uv.sources]")
        lines += [f'{name} = {{ index = "{names[url]}" }}' for name, url in sorted(bound.items())]
        credentials = Credentials(self.uv.settings.secrets)
        for url in urls:
            lines += ["[[tool.uv.index]]", *credentials.lines(url, names[url]), "explicit = true"]
        self.uv.credentials |= credentials.variables
        source = self.folder / "pyproject.toml"
        source.write_text("\n".join(lines) + "\n")
        return source

    def _checked(self, found: Lock) -> Lock:
        """The lock, once every wheel has one of the hashes that its requirement lists."""
        locked = {wheel.name: wheel for wheel in found.wheels}
        for each in self.wanted.asked:
            wheel = locked.get(each.name)
            if wheel is not None and each.hashes and f"sha256:{wheel.sha256}" not in each.hashes:
                raise UnresolvableError(
                    f"{each.file}, line {each.line}: {wheel.filename} has none of the hashes "
                    "listed there; add the hash of this wheel or check the index.",
                    file=each.file,
                    line=each.line,
                    package=each.name,
                )
        return found


def with_seed(wanted: Requirements, seed: Sequence[str]) -> Requirements:
    """The requirements plus the seed packages that they do not name themselves."""
    there = {each.name for each in wanted.asked}
    more = []
    for text in seed:
        name = canonicalize_name(Requirement(text).name)
        if name not in there:
            more.append(Asked(text, name, _SEED_FILE, 1))
    return replace(wanted, asked=(*wanted.asked, *more))


def _unsatisfied(ran: Ran) -> bool:
    return "no solution found" in ran.err.lower()
