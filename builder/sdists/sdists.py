"""The wheels of packages without one: found in the cache, or built by the engine.

index page ─> sdist ─> its build requirements, as wheels ─> container ─> wheel ─> cache
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from builder.download import Downloader
from builder.engines.protocol import Engine, Limits, Network
from builder.errors import CancelledError, EngineBuildError, NoWheelError
from builder.model import Base, Lock, LockedSdist, LockedWheel
from builder.sdists import container, page
from builder.secrets import origin_of
from builder.source import HostPolicy
from builder.stores.protocol import Store

ROUNDS = 4
"""How often a backend may ask for one thing more."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a worker builds with; safe for threads and kept from build to build.

    `cache` is a folder, shared by all of a machine's workers.
    """

    engine: Engine
    store: Store
    cache: Path
    limits: Limits


class Sdists:
    """Builds for one base; `folder` holds the wheels built so far, where uv finds them.

    `resolve` gives the lock of build requirements; `build` names the engine's builds.
    """

    def __init__(
        self,
        site: Site,
        base: Base,
        downloader: Downloader,
        resolve: Callable[[Sequence[str]], Lock],
        folder: Path,
        *,
        hosts: HostPolicy,
        own: frozenset[tuple[str, str, int]],
        build: str,
        log: Callable[[str], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._site, self._base = site, base
        self._downloader, self._resolve = downloader, resolve
        self._hosts, self._own = hosts, own
        self._build_id, self._log, self._cancelled = build, log, cancelled
        self.folder = folder
        self.locked: dict[str, LockedWheel] = {}

    def add(self, name: str, specifier: SpecifierSet, indexes: Sequence[str]) -> bool:
        """Build the newest fitting release of a package from the first index that has one.

        Whether there is one now that was not there before. Raises what the build raises.
        """
        name = canonicalize_name(name)
        if any(wheel.name == name for wheel in self.locked.values()):
            return False
        for index in indexes:
            url = f"{index.rstrip('/')}/{name}/"
            self._check(url)
            try:
                text, kind, at = self._downloader.page(url, name, page.ACCEPT, page.MAX_PAGE_BYTES)
            except NoWheelError:
                continue
            found = page.newest(text, kind, at, name, specifier, self._base.python.version)
            if found is not None:
                self._check(found.sdist.url)
                path, wheel = self._built(name, found.version, found.sdist)
                self.locked[wheel.filename] = wheel
                shutil.copyfile(path, self.folder / wheel.filename)
                return True
        return False

    def wheel(self, locked: LockedWheel) -> Path:
        """The file of a locked wheel that was built here or elsewhere, built again if need be.

        Raises NoWheelError if it comes out otherwise than locked.
        """
        assert locked.sdist is not None
        path, made = self._built(locked.name, Version(locked.version), locked.sdist)
        if made.sha256 != locked.sha256:
            raise NoWheelError(
                f"{locked.filename} was built from source, and came out otherwise when it was "
                "built again; resolve again with --upgrade, or publish a wheel of it on an index.",
                package=locked.name,
            )
        return path

    def _built(self, name: str, version: Version, sdist: LockedSdist) -> tuple[Path, LockedWheel]:
        """The wheel in the cache, made once for each source, Python and base."""
        key = hashlib.sha256(
            json.dumps([sdist.sha256, self._base.python.version, self._base.digest]).encode()
        ).hexdigest()
        place = self._site.cache / key[:2] / key
        with _alone(place):
            if not (place / "wheel.json").exists():
                self._make(name, version, sdist, place)
            facts = json.loads((place / "wheel.json").read_bytes())
        wheel = LockedWheel(name=name, version=str(version), url=sdist.url, sdist=sdist, **facts)
        return place / wheel.filename, wheel

    def _make(self, name: str, version: Version, sdist: LockedSdist, place: Path) -> None:
        self._log(f"{name} {version} has no wheel: building one from {sdist.filename}")
        with tempfile.TemporaryDirectory(prefix="kitbag-engine-") as scratch:
            context, into = Path(scratch) / "context", Path(scratch) / "out"
            context.mkdir()
            into.mkdir()
            source = LockedWheel(
                name, str(version), sdist.filename, sdist.url, sdist.sha256, sdist.size_bytes
            )
            with self._downloader.sdist(source, self._stop) as file:
                shutil.copyfile(file, context / sdist.filename)
            wanted = [*container.requires_of(context / sdist.filename), "pip"]
            path = self._round(name, context, into, sdist.filename, wanted)
            _check_wheel(path, name, version)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / path.name)
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            facts = {"filename": path.name, "sha256": sha256, "size_bytes": path.stat().st_size}
            (place / "wheel.partial").write_text(json.dumps(facts))
            (place / "wheel.partial").rename(place / "wheel.json")

    def _round(self, name: str, context: Path, into: Path, sdist: str, wanted: list[str]) -> Path:
        for _ in range(ROUNDS):
            pip = self._lay_out(context / "wheels", wanted)
            said: list[str] = []

            def log(line: str, said: list[str] = said) -> None:
                said.append(line)
                self._log(line)

            limits = replace(self._site.limits, network=Network.NONE)
            build = f"{self._build_id}.{secrets.token_hex(4)}"
            job = container.job(build, context, sdist, pip, self._base, limits)
            try:
                made = self._site.engine.files(
                    job, self._site.store, into, log=log, cancelled=self._cancelled
                )
            except EngineBuildError as error:
                more = container.asked_for(said)
                if more is not None and more not in wanted:
                    wanted.append(more)
                    continue
                raise NoWheelError(
                    f"{name} has no wheel for Python {self._base.python.minor}, and its source "
                    f"{sdist} can't be built on {self._base.name}: {error.detail}",
                    package=name,
                ) from error
            wheels = [path for path in made if path.suffix == ".whl"]
            if len(wheels) == 1:
                return wheels[0]
            break
        raise NoWheelError(
            f"{name} has no wheel, and building {sdist} gave none either; choose another version.",
            package=name,
        )

    def _lay_out(self, folder: Path, wanted: Sequence[str]) -> str:
        """Put the wheels of the build requirements into the folder; returns the name of pip's."""
        folder.mkdir(exist_ok=True)
        lock = self._resolve(wanted)
        for each in lock.wheels:
            if not (folder / each.filename).exists():
                with self._downloader.wheel(each, self._stop) as path:
                    shutil.copyfile(path, folder / each.filename)
        return next(each.filename for each in lock.wheels if each.name == "pip")

    def _check(self, url: str) -> None:
        """An index that a user names, and what it names, must be on hosts that are allowed."""
        if origin_of(url) not in self._own:
            self._hosts.check(urlsplit(url).hostname or "", NoWheelError)

    def _stop(self, _: int) -> None:
        if self._cancelled():
            raise CancelledError("The build was cancelled.")


def _check_wheel(path: Path, name: str, version: Version) -> None:
    fits = False
    with suppress(InvalidWheelFilename):
        fits = parse_wheel_filename(path.name)[:2] == (name, version)
    if not fits:
        raise NoWheelError(
            f"The source of {name} {version} builds {path.name[:80]}, which is another package; "
            "choose another version.",
            package=name,
        )


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Two builds don't make the same wheel at once; the lock ends with who holds it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
