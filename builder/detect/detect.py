"""Choose the way to build by the files of a source, with Binder's precedence.

Binder's order is repo2docker's list of buildpacks: Dockerfile, Julia, Nix, R, conda, Pipfile,
Python; apt.txt, postBuild and start add to any of them. A folder `binder/` or `.binder/` replaces
the root.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.detect.environment import read_environment
from builder.detect.files import exists, read_text
from builder.detect.model import Detected, Kind
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
    ("Dockerfile", "is a container build of its own"),
    ("Project.toml", "asks for Julia"),
    ("JuliaProject.toml", "asks for Julia"),
    ("REQUIRE", "asks for Julia"),
    ("default.nix", "asks for Nix"),
    ("install.R", "asks for R"),
)
_ADDED = (
    ("apt.txt", "asks for system packages"),
    ("postBuild", "runs code after the build"),
    ("start", "runs code before the server starts"),
)
_UNREAD = ("pixi.toml", "pixi.lock", "conda-lock.yml", "poetry.lock", "environment.yaml")


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
    detected = look.binder() or look.python()
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

    def binder(self) -> Detected | None:
        """The answer when only a container engine will do, for a reason that a file name gives."""
        reasons = [(name, why) for name, why in _FIRST if self.has(name)]
        if not reasons and (file := self._r_file()):
            reasons = [(file, "asks for R")]
        if not reasons and self.has("environment.yml"):
            why = self._conda()
            reasons = [("environment.yml", why)] if why else []
        elif not reasons:
            reasons = [
                (n, "is read by pipenv only") for n in ("Pipfile", "Pipfile.lock") if self.has(n)
            ]
        if not reasons and not self.has("environment.yml") and not self.config_dir:
            reasons = self._setup()
        reasons += [(name, why) for name, why in _ADDED if self.has(name)]
        if not reasons:
            return None
        listed = " and ".join(f"{self.path(name)} {why}" for name, why in reasons)
        return Detected(
            Way.BINDER,
            Kind.BINDER,
            f"A container engine is needed since {listed}.",
            tuple(self.path(name) for name, _ in reasons),
            python=self._lenient_pin(),
        )

    def _r_file(self) -> str | None:
        if self._begins("runtime.txt", "r-"):
            return "runtime.txt"
        if not self.config_dir and self._begins("DESCRIPTION", "Package:", "Type:"):
            return "DESCRIPTION"
        return None

    def _begins(self, name: str, *beginnings: str) -> bool:
        return self.has(name) and read_text(self.root, self.path(name)).startswith(beginnings)

    def _conda(self) -> str | None:
        environment = read_environment(self.root, self.path("environment.yml"))
        if environment.conda:
            more = len(environment.conda) - 3
            listed = ", ".join(environment.conda[:3]) + (f" and {more} more" if more > 0 else "")
            return f"asks for conda packages ({listed})"
        return f"sets {environment.other[0]}" if environment.other else None

    def _setup(self) -> list[tuple[str, str]]:
        why = "must be run to know its dependencies (or list them in binder/requirements.txt)"
        return [("setup.py", why)] if self.has("setup.py") else []

    def python(self) -> Detected:
        """The answer when only Python packages are asked for."""
        detected = self._python()
        if detected.kind in (Kind.REQUIREMENTS, Kind.PYPROJECT, Kind.ENVIRONMENT):
            try:
                asked = read_requirements(self.root, detected)
            except EngineNeededError as error:
                reason = str(error.extra.get("reason", error.detail))
                return replace(
                    detected,
                    way=Way.BINDER,
                    kind=Kind.BINDER,
                    why=f"A container engine is needed since {reason}.",
                )
            more = (name for name in detected.files if name not in asked.files)
            return replace(detected, files=(*asked.files, *more))
        return detected

    def _python(self) -> Detected:
        pin = self._pin()
        if self.has("environment.yml"):
            name = self.path("environment.yml")
            environment = read_environment(self.root, name)
            return Detected(
                Way.LAYERED, Kind.ENVIRONMENT, f"{name} lists only python and pip packages.",
                (name, *self._pin_files()),
                python=environment.python or pin, requires_python=environment.requires_python,
            )  # fmt: skip
        if self.has("pylock.toml"):
            return self._layered(Kind.PYLOCK, "is a lock of exact packages", pin)
        project = self._project()
        if self.has("uv.lock") and project is not None:
            return self._layered(Kind.UV_LOCK, "is a lock of exact packages", pin, "pyproject.toml")
        if self.has("requirements.txt"):
            return self._layered(Kind.REQUIREMENTS, "lists only Python packages", pin)
        if project is not None and project.declares:
            code = project.code_needed()
            if code is not None:
                why = f"A container engine is needed since {project.name} must be run: {code}."
                return Detected(Way.BINDER, Kind.BINDER, why, (project.name,), python=pin)
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
