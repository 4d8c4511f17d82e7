"""Read everything that the detected files ask of a resolver."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from builder.detect.environment import read_environment
from builder.detect.model import Detected, Kind, Requirements
from builder.detect.pyproject import dependencies, read_pyproject
from builder.detect.requirements import Reader


def read_requirements(
    root: Path,
    detected: Detected,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
) -> Requirements:
    """What requirements.txt, environment.yml or pyproject.toml ask for; nothing for other kinds.

    `extras` and `groups` are those of a pyproject.toml. Raises InvalidSpecError (file and line),
    EngineNeededError and TooLargeError.
    """
    match detected.kind:
        case Kind.PYPROJECT:
            return dependencies(read_pyproject(root, detected.files[0]), root, extras, groups)
        case Kind.REQUIREMENTS:
            reader = Reader(root)
            reader.file(detected.files[0])
            return reader.result()
        case Kind.ENVIRONMENT:
            name = detected.files[0]
            reader = Reader(root)
            reader.files.append(name)
            for number, text in read_environment(root, name).pip:
                reader.line(text.strip(), name, number)
            return reader.result()
        case _:
            return Requirements()
