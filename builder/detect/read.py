"""Read everything that the detected files ask of a resolver."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from builder.detect.environment import read_environment
from builder.detect.model import Detected, Kind, Requirements
from builder.detect.pipfile import read_pipfile
from builder.detect.pyproject import dependencies, read_pyproject
from builder.detect.requirements import Reader


def read_requirements(
    root: Path,
    detected: Detected,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
) -> Requirements:
    """What requirements.txt, environment.yml, pyproject.toml or Pipfile ask for; else nothing.

    `extras` and `groups` are those of a pyproject.toml. What has to be built is left out where pip
    installs it afterwards (`detected.install`). Raises InvalidSpecError (file and line),
    EngineNeededError and TooLargeError.
    """
    leave = "-r" in detected.install
    match detected.kind:
        case Kind.PYPROJECT:
            return dependencies(
                read_pyproject(root, detected.files[0]), root, extras, groups, leave=leave
            )
        case Kind.REQUIREMENTS:
            reader = Reader(root, leave=leave)
            reader.file(detected.files[0])
            return reader.result()
        case Kind.ENVIRONMENT:
            name = detected.files[0]
            reader = Reader(root, leave=leave)
            reader.files.append(name)
            for number, text in read_environment(root, name).pip:
                reader.line(text.strip(), name, number)
            return reader.result()
        case Kind.PIPFILE | Kind.PIPFILE_LOCK:
            return read_pipfile(root, detected.files[0], leave=leave)
        case _:
            return Requirements()
