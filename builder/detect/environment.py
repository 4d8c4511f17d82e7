"""Read an environment.yml that lists only python, pip and pip packages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from builder.detect.files import read_text
from builder.errors import InvalidSpecError

_SPEC = re.compile(r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<rest>.*)")
_PIN = re.compile(r"=?=?\s*(?P<version>3\.\d+(?:\.\d+)?)(?:\.\*)?(?:=.*)?")


@dataclass(frozen=True, slots=True)
class CondaEnvironment:
    """What an environment.yml lists: conda packages beside python and pip, pip's lines with their
    numbers, python's pin, and other keys that change the environment."""

    conda: tuple[str, ...]
    pip: tuple[tuple[int, str], ...]
    python: str | None
    requires_python: str | None
    other: tuple[str, ...]


def read_environment(root: Path, name: str) -> CondaEnvironment:
    """Read the file; raises InvalidSpecError with the line where it makes no sense."""
    document = _load(root, name)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise _bad(name, 1, "it is not a mapping")
    listed = document.get("dependencies") or []
    if not isinstance(listed, list):
        raise _bad(name, 1, "'dependencies' is not a list")
    conda: list[str] = []
    pip: list[tuple[int, str]] = []
    python = requires = None
    for position, entry in enumerate(listed):
        line = _line(listed, position)
        if isinstance(entry, dict):
            if set(entry) != {"pip"} or not isinstance(entry["pip"], list | None):
                raise _bad(name, line, "only 'pip:' with a list may stand there")
            for place, requirement in enumerate(entry["pip"] or []):
                number = _line(entry["pip"], place)
                if not isinstance(requirement, str):
                    raise _bad(name, number, "a requirement is not text; quote it")
                pip.append((number, requirement))
        elif isinstance(entry, str) and (spec := _SPEC.fullmatch(entry.strip())):
            package = spec["name"].lower()
            if package == "python":
                pin = _PIN.fullmatch(spec["rest"].strip())
                python = pin["version"] if pin else None
                requires = None if pin else spec["rest"].strip() or None
            elif package != "pip":
                conda.append(package)
        else:
            raise _bad(name, line, "a dependency is not text; quote it")
    other = tuple(key for key in ("variables", "nodefaults") if document.get(key))
    return CondaEnvironment(tuple(conda), tuple(pip), python, requires, other)


def _load(root: Path, name: str) -> object:
    text = read_text(root, name)
    try:
        return YAML(typ="rt", pure=True).load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise _bad(name, line, str(getattr(error, "problem", None) or "unreadable")) from error
    except (RecursionError, ValueError) as error:
        raise _bad(name, 1, "it can't be read") from error


def _line(sequence: object, position: int) -> int:
    marks = getattr(sequence, "lc", None)
    return int(marks.item(position)[0]) + 1 if marks is not None else 1


def _bad(name: str, line: int, reason: str) -> InvalidSpecError:
    return InvalidSpecError(
        f"{name}, line {line} is not a conda environment: {reason}.", file=name, line=line
    )
