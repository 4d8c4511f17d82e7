"""Choose the way to build by the files of a source, with Binder's precedence.

Binder's order is repo2docker's list of buildpacks: Dockerfile, Julia, Nix, R, conda, Pipfile,
Python; apt.txt, postBuild and start add to any of them. A folder `binder/` or `.binder/` replaces
the root.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from builder.detect.environment import read_environment
from builder.detect.files import exists, read_text
from builder.detect.model import Buildpack, Detected, Kind
from builder.detect.pipfile import python_of
from builder.detect.pyproject import Pyproject, read_pyproject
from builder.detect.python import pinned_python, requires_python
from builder.detect.read import read_requirements
from builder.errors import (
    ConfigConflictError,
    EngineNeededError,
    InvalidSpecError,
    SourceNotFoundError,
)
from builder.model import Way
from builder.source.names import parts_of

_FIRST = (
    ("Dockerfile", Buildpack.DOCKERFILE, "is a container build of its own"),
    ("Project.toml", Buildpack.JULIA, "asks for Julia"),
    ("JuliaProject.toml", Buildpack.JULIA, "asks for Julia"),
    ("REQUIRE", Buildpack.JULIA, "asks for Julia"),
    ("default.nix", Buildpack.NIX, "asks for Nix"),
    ("install.R", Buildpack.R, "asks for R"),
)
_ADDED = (
    ("apt.txt", "asks for system packages"),
    ("postBuild", "runs code after the build"),
    ("start", "runs code before the server starts"),
)
_UNREAD = ("pixi.toml", "pixi.lock", "conda-lock.yml", "poetry.lock")


def detect(root: Path, subdir: str | None = None) -> Detected:
    """What the checkout at `root`, or its folder `subdir`, asks for.

    Raises ConfigConflictError for both `binder/` and `.binder/`, InvalidSpecError for a file that
    can't be read, SourceNotFoundError when `subdir` is not there.
    """
    below = "/".join(parts_of(subdir or ""))
    top = root / below
    if not top.is_dir() or not top.resolve().is_relative_to(root.resolve()):
        raise SourceNotFoundError(f"The repository has no folder '{subdir}'; check the path.")
    found = [name for name in ("binder", ".binder") if (top / name).is_dir()]
    if len(found) > 1:
        raise ConfigConflictError(
            "The repository has both 'binder/' and '.binder/'; keep one of them.", file="binder"
        )
    config_dir = found[0] if found else ""
    look = _Look(root, below, config_dir)
    detected = look.stock() or look.ours()
    return replace(detected, config_dir=config_dir, subdir=below)


class _Look:
    """One configuration folder, and the questions about it in order."""

    def __init__(self, root: Path, below: str, config_dir: str) -> None:
        self.root = root
        self.prefix = "".join(f"{part}/" for part in (below, config_dir) if part)
        self.config_dir = config_dir

    def has(self, name: str) -> bool:
        return exists(self.root, self.prefix + name)

    def path(self, name: str) -> str:
        return self.prefix + name

    def stock(self) -> Detected | None:
        """The answer when one of repo2docker's own buildpacks installs the packages."""
        reasons = [(name, pack, why) for name, pack, why in _FIRST if self.has(name)]
        if not reasons and (file := self._r_file()):
            reasons = [(file, Buildpack.R, "asks for R")]
        if not reasons and (name := self._environment()) and (why := self._conda(name)):
            reasons = [(name, Buildpack.CONDA, why)]
        if not reasons:
            return None
        said = [(name, why) for name, _, why in reasons] + self._added()
        return Detected(
            Way.BINDER,
            Kind.BINDER,
            _since(f"{self.path(name)} {why}" for name, why in said),
            tuple(self.path(name) for name, _ in said),
            python=self._lenient_pin(),
            buildpack=reasons[0][1],
        )

    def ours(self) -> Detected:
        """The answer for a source of Python packages, with what adds to them."""
        detected = self.python()
        added = dict(self._added())
        install = detected.install
        reasons = [f"{self.path(name)} {why}" for name, why in added.items()]
        if self._setup() or (added and self._builds()):
            install = (*install, ".")
        if self._setup():
            reasons.insert(0, f"{self.path('setup.py')} must be run to install the package")
        if detected.way is Way.BINDER:
            reasons.insert(0, detected.why)
        if not reasons:
            return detected
        files = [self.path(name) for name in ("setup.py",) if self._setup()]
        made = replace(
            detected,
            way=Way.BINDER,
            files=(*detected.files, *files, *(self.path(name) for name in added)),
            install=install,
            apt=self.path("apt.txt") if "apt.txt" in added else None,
            post_build=self.path("postBuild") if "postBuild" in added else None,
            start=self.path("start") if "start" in added else None,
        )
        if made.needs_engine:
            return replace(made, why=_since(reasons))
        return replace(made, why=f"{reasons[0]}, so the repository's files go into the image.")

    def _added(self) -> list[tuple[str, str]]:
        return [(name, why) for name, why in _ADDED if self.has(name)]

    def _environment(self) -> str | None:
        names = ("environment.yml", "environment.yaml")
        return next((name for name in names if self.has(name)), None)

    def _r_file(self) -> str | None:
        if self._begins("runtime.txt", "r-"):
            return "runtime.txt"
        if not self.config_dir and self._begins("DESCRIPTION", "Package:", "Type:"):
            return "DESCRIPTION"
        return None

    def _begins(self, name: str, *beginnings: str) -> bool:
        return self.has(name) and read_text(self.root, self.path(name)).startswith(beginnings)

    def _conda(self, name: str) -> str | None:
        environment = read_environment(self.root, self.path(name))
        if environment.conda:
            more = len(environment.conda) - 3
            listed = ", ".join(environment.conda[:3]) + (f" and {more} more" if more > 0 else "")
            return f"asks for conda packages ({listed})"
        return f"sets {environment.other[0]}" if environment.other else None

    def _setup(self) -> bool:
        """Whether Binder would run `pip install .` for a setup.py."""
        return self._installs() and self.has("setup.py")

    def _builds(self) -> bool:
        """Whether Binder would run `pip install .` for a pyproject.toml."""
        project = self._project() if self._installs() else None
        return project is not None and all(
            bool(project.table(name)) for name in ("project", "build-system")
        )

    def _installs(self) -> bool:
        """Whether the source may be a package: conda and pipenv don't install it."""
        pipenv = self.has("Pipfile") or self.has("Pipfile.lock")
        return not (self.config_dir or pipenv or self._environment())

    def python(self) -> Detected:
        """The Python packages that are asked for; `why` is a bare reason where code must run."""
        detected = self._python()
        try:
            asked = read_requirements(self.root, detected)
        except EngineNeededError as error:
            reason = str(error.extra.get("reason", error.detail))
            return replace(detected, way=Way.BINDER, why=reason, install=("-r",))
        more = (name for name in detected.files if name not in asked.files)
        return replace(detected, files=(*asked.files, *more))

    def _python(self) -> Detected:
        pin = self._pin()
        if file := self._environment():
            name = self.path(file)
            environment = read_environment(self.root, name)
            return Detected(
                Way.LAYERED, Kind.ENVIRONMENT, f"{name} lists only python and pip packages.",
                (name, *self._pin_files()),
                python=environment.python or pin, requires_python=environment.requires_python,
            )  # fmt: skip
        if self.has("pylock.toml"):
            return self._layered(Kind.PYLOCK, "is a lock of exact packages", pin)
        for kind in (Kind.PIPFILE_LOCK, Kind.PIPFILE):
            if self.has(kind.value):
                return self._pipfile(kind, pin)
        project = self._project()
        if self.has("uv.lock") and project is not None:
            return self._layered(Kind.UV_LOCK, "is a lock of exact packages", pin, "pyproject.toml")
        if self.has("requirements.txt"):
            return self._layered(Kind.REQUIREMENTS, "lists only Python packages", pin)
        if project is not None and project.declares:
            code = project.code_needed()
            if code is not None:
                # Its dependencies come with it when pip installs it.
                why = f"{project.name} must be run: {code}"
                return Detected(
                    Way.BINDER, Kind.EMPTY, why, (project.name, *self._pin_files()), python=pin,
                    install=(".",),
                )  # fmt: skip
            return self._layered(
                Kind.PYPROJECT, "lists its dependencies, the project itself is not installed", pin
            )
        return self._empty(pin)

    def _layered(self, kind: Kind, why: str, pin: str | None, *more: str) -> Detected:
        name = self.path(kind.value)
        files = (name, *(self.path(each) for each in more), *self._pin_files())
        requires = requires_python(self.root, kind, name)
        return Detected(
            Way.LAYERED, kind, f"{name} {why}.", files, python=pin, requires_python=requires
        )

    def _pipfile(self, kind: Kind, pin: str | None) -> Detected:
        """Pipenv's packages: those of the lock, or what the Pipfile asks for where there is none.

        Binder lets runtime.txt lose against the Python that the Pipfile names.
        """
        name = self.path(kind.value)
        also = [self.path("Pipfile")] if kind is Kind.PIPFILE_LOCK and self.has("Pipfile") else []
        python = python_of(self.root, name) or pin
        what = "is a lock of exact packages" if kind is Kind.PIPFILE_LOCK else "lists its packages"
        return Detected(
            Way.LAYERED, kind, f"{name} {what}.", (name, *also, *self._pin_files()), python=python
        )

    def _empty(self, pin: str | None) -> Detected:
        unread = [name for name in _UNREAD if self.has(name)]
        if unread:
            raise InvalidSpecError(
                f"'{self.path(unread[0])}' is not read by Binder; export it to requirements.txt or "
                "environment.yml.",
                file=self.path(unread[0]),
            )
        where = f"'{self.prefix.rstrip('/')}'" if self.prefix else "the repository"
        return Detected(
            Way.LAYERED, Kind.EMPTY, f"No file in {where} asks for packages, so it gets none.",
            self._pin_files(), python=pin,
        )  # fmt: skip

    def _project(self) -> Pyproject | None:
        name = "pyproject.toml"
        return read_pyproject(self.root, self.path(name)) if self.has(name) else None

    def _pin_files(self) -> tuple[str, ...]:
        names = ("runtime.txt", ".python-version")
        return tuple(self.path(name) for name in names if self.has(name))

    def _lenient_pin(self) -> str | None:
        """The pin, for a source whose runtime.txt may not be about Python at all."""
        try:
            return self._pin()
        except InvalidSpecError:
            return None

    def _pin(self) -> str | None:
        for name in self._pin_files():
            if pin := pinned_python(self.root, name):
                return pin
        return None


def _since(reasons: Iterable[str]) -> str:
    return f"A container engine is needed since {' and '.join(reasons)}."
