"""From the running environment to the request of a new version."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from kitbag.capture.image import Image, image
from kitbag.capture.installed import Installed, Origin, conda_packages, installed
from kitbag.capture.local import wheel
from kitbag.source import Files, Folder, Source

# Installers that every environment has, or that installers bring: nobody's own choice.
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
_WHEELS = "wheels"


@dataclass(frozen=True)
class Change:
    """A package whose version, or whose source, is another than the image's."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Difference:
    """What differs from the image; `stays` says what can't be carried, and why."""

    added: tuple[Installed, ...] = ()
    changed: tuple[Change, ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    stays: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True)
class Capture:
    """The image, what is installed now, and the difference."""

    image: Image
    packages: Mapping[str, Installed] = field(repr=False)
    difference: Difference

    def requirements(self, wheels: Mapping[str, str] | None = None) -> str:
        """A requirements.txt of everything that is installed, to the version.

        `wheels` are the files of packages from folders, relative to the requirements.
        """
        lines = [self._line(self.packages[name], wheels or {}) for name in sorted(self.packages)]
        head = "# Written by kitbag capture: the running environment, to the version."
        return "\n".join([head, *lines]) + "\n"

    @contextmanager
    def source(self, environment: str) -> Iterator[Source]:
        """The source of a build: texts, or with packages of folders a folder of wheels.

        PackError says which package of a folder can't be packed.
        """
        local = [item for item in self.packages.values() if _is_local(item)]
        if not local:
            yield Files({"requirements.txt": self.requirements()}, environment)
            return
        with TemporaryDirectory(prefix="kitbag-capture-") as name:
            folder = Path(name)
            (folder / _WHEELS).mkdir()
            made = {item.name: wheel(item, folder / _WHEELS).name for item in local}
            texts = {name: f"./{_WHEELS}/{file}" for name, file in made.items()}
            (folder / "requirements.txt").write_text(self.requirements(texts))
            names = sorted(("requirements.txt", *(f"{_WHEELS}/{file}" for file in made.values())))
            yield Folder(folder, environment, names=tuple(names))

    def _line(self, package: Installed, wheels: Mapping[str, str]) -> str:
        url = package.url
        if package.name in wheels:
            return wheels[package.name]
        if package.origin in (Origin.ARCHIVE, Origin.REPOSITORY):
            return f"{package.name} @ {url}"
        if self.image.packages.get(package.name) == package.version:
            url = self.image.urls.get(package.name)
            if url:
                return f"{package.name} @ {url}"
        # A local version, as in 2.4.0+cpu, is the choice of an index, which the server makes.
        return f"{package.name}=={package.version.partition('+')[0]}"


def look(made: Image | None = None) -> Capture:
    """Compare the running environment with the image's own lock; changes nothing.

    Packages elsewhere than in the image's prefix, which the platform may have mounted, and
    installers don't count. Raises KitbagError outside of an image.
    """
    made = made or image()
    there = installed(made.site)
    locked = made.packages
    stays = [f"{name}, which conda installed" for name in _of_conda(made.prefix, there)]
    kept: dict[str, Installed] = {}
    added, changed = [], []
    for name, package in there.items():
        before = locked.get(name)
        if name in _INSTALLERS:
            if before is not None:
                kept[name] = Installed(name, before, package.info)
            continue
        if package.origin is Origin.CONDA:
            continue
        if _is_local(package):
            reason = _unpackable(package)
            if reason:
                stays.append(reason)
                continue
        kept[name] = package
        if before is None:
            added.append(package)
        elif before != package.version or _moved(made, package):
            changed.append(Change(name, before, _after(package)))
    removed = tuple(
        (name, version)
        for name, version in locked.items()
        if name not in there and name not in _INSTALLERS
    )
    difference = Difference(tuple(added), tuple(changed), removed, tuple(stays))
    return Capture(made, kept, difference)


def _after(package: Installed) -> str:
    return package.version if package.url is None else f"{package.version} from {package.url}"


def _is_local(package: Installed) -> bool:
    return package.origin in (Origin.FOLDER, Origin.EDITABLE)


def _moved(made: Image, package: Installed) -> bool:
    """Whether the same version is from another place than the image's."""
    if package.url is None:
        return False
    return package.url.partition("#")[0] != made.urls.get(package.name)


def _unpackable(package: Installed) -> str | None:
    """Why a package of a folder can't travel; None where it can, as far as its files tell."""
    if package.origin is Origin.EDITABLE and not Path(str(package.url)).is_dir():
        return f"{package.name} {package.version}: its folder {package.url} is gone"
    try:
        text = (package.info / "WHEEL").read_text()
    except (OSError, UnicodeDecodeError):
        text = ""
    if "Root-Is-Purelib: true" not in text:
        return f"{package.name} {package.version} from {package.url}, compiled for this machine"
    return None


def _of_conda(prefix: Path, there: Mapping[str, Installed]) -> list[str]:
    """Everything that conda put here, packages of Python and others."""
    found = {
        f"{item.name} {item.version}" for item in there.values() if item.origin is Origin.CONDA
    }
    found |= set(conda_packages(prefix))
    own = os.environ.get("CONDA_PREFIX")
    if own and Path(own) != prefix:
        found |= set(conda_packages(Path(own)))
    return sorted(found)
