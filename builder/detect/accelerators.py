"""What a project declares about accelerators: [tool.kitbag] in its pyproject.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from builder.detect.files import exists
from builder.detect.model import Detected, Kind
from builder.detect.pyproject import Pyproject, read_pyproject
from builder.detect.read import read_requirements
from builder.errors import InvalidSpecError
from builder.model import Accelerator, Way
from builder.source.names import parts_of

_WORDS = ("requirements", "extras", "groups")


@dataclass(frozen=True, slots=True)
class Variant:
    """An accelerator that an environment is for, and what is its own there.

    `requirements` is the file, relative to the checkout, that says what to install instead of what
    was detected; `extras` and `groups` of the pyproject.toml are added to those asked for.
    """

    accelerator: Accelerator
    requirements: str | None = None
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def declared(root: Path, detected: Detected) -> tuple[Variant, ...]:
    """The accelerators that the project names, the default first; none for most projects.

    `[tool.kitbag] accelerators` is a list of names, or a table of one for each that may say
    `requirements`, `extras` and `groups`. Raises InvalidSpecError with the line.
    """
    prefix = "".join(f"{part}/" for part in (detected.subdir, detected.config_dir) if part)
    name = f"{prefix}pyproject.toml"
    if not exists(root, name):
        return ()
    project = read_pyproject(root, name)
    settings = project.table("tool", "kitbag")
    unknown = sorted(settings.keys() - {"accelerators"})
    if unknown:
        raise project.bad(f"tool.kitbag.{unknown[0]}", "means nothing; only 'accelerators' does")
    said: Any = settings.get("accelerators", ())
    if isinstance(said, dict):
        return tuple(
            _variant(
                project, prefix, root, key, project.table("tool", "kitbag", "accelerators", key)
            )
            for key in said
        )
    variants = tuple(Variant(_accelerator(project, each)) for each in _texts(project, said))
    if len(set(variants)) < len(variants):
        raise project.bad("tool.kitbag.accelerators", "names one twice")
    return variants


def of(root: Path, detected: Detected, variant: Variant) -> Detected:
    """What to install for an accelerator: what was detected, or the file of its own.

    Raises EngineNeededError and InvalidSpecError as reading that file does.
    """
    if variant.requirements is None or detected.way is not Way.LAYERED:
        return detected
    file = variant.requirements
    why = f"{file} lists the Python packages for {variant.accelerator}."
    pins = tuple(name for name in detected.files if name.endswith(("runtime.txt", "-version")))
    alone = replace(
        detected, kind=Kind.REQUIREMENTS, why=why, files=(file, *pins), requires_python=None
    )
    asked = read_requirements(root, alone)
    return replace(alone, files=(*asked.files, *(name for name in pins if name not in asked.files)))


def _variant(
    project: Pyproject, prefix: str, root: Path, key: str, table: Mapping[str, Any]
) -> Variant:
    where = f"tool.kitbag.accelerators.{key}"
    unknown = sorted(table.keys() - set(_WORDS))
    if unknown:
        raise project.bad(f"{where}.{unknown[0]}", f"means nothing; {', '.join(_WORDS)} do")
    file = table.get("requirements")
    if file is not None:
        if not isinstance(file, str) or not file:
            raise project.bad(f"{where}.requirements", "is not the name of a file")
        file = prefix + _inside(project, f"{where}.requirements", file)
        if not exists(root, file):
            raise project.bad(f"{where}.requirements", f"names '{file}', which is not there")
        if "extras" in table or "groups" in table:
            raise project.bad(where, "has a file of its own, so extras and groups say nothing")
    return Variant(
        _accelerator(project, key),
        file,
        _texts(project, table.get("extras", ()), f"{where}.extras"),
        _texts(project, table.get("groups", ()), f"{where}.groups"),
    )


def _inside(project: Pyproject, key: str, name: str) -> str:
    try:
        return "/".join(parts_of(name))
    except InvalidSpecError as error:
        raise project.bad(key, "is not a path inside the repository") from error


def _accelerator(project: Pyproject, name: str) -> Accelerator:
    try:
        return Accelerator(name)
    except ValueError:
        known = ", ".join(Accelerator)
        raise project.bad(
            "tool.kitbag.accelerators", f"names {name[:40]!r}; known are {known}"
        ) from None


def _texts(
    project: Pyproject, value: object, key: str = "tool.kitbag.accelerators"
) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        raise project.bad(key, "is not a list of names")
    return tuple(value)
