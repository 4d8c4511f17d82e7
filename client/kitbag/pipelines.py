"""The packages that a pipeline's steps install as they start, as the source of one environment.

A step of Kubeflow Pipelines with `packages_to_install` begins with a shell command that runs pip in
its pod. The same command is in what SDK 2 compiles (`deploymentSpec.executors`) and in the Argo
Workflows of SDK 1.8, so one reader serves both; a pipeline's Python file is imported first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kitbag.errors import PackError
from kitbag.pip_command import REQUIREMENT, install, installs
from kitbag.source import DEFAULT_NAMESPACE, Files, derived_name
from kitbag.specs.source import MAX_BYTES

_SUFFIXES = (".yaml", ".yml", ".json")
_EXACT = re.compile(r"===?\s*(?P<version>[^\s,;*]+)$")
# The images whose tag is the version of their Python: python:3.11, python:3.11.4-slim-bookworm.
_PYTHON = re.compile(r"(?:.*/)?python:(?P<version>3\.\d+)(?:[.-].*)?")


@dataclass(frozen=True)
class Step:
    """A step, its image, and what its pip is told to install, in this order."""

    name: str
    image: str
    packages: tuple[str, ...]
    indexes: tuple[str, ...] = ()
    default_index: str | None = None

    @property
    def python(self) -> str | None:
        """The version of Python that its image's name says, as 3.11."""
        match = _PYTHON.fullmatch(self.image)
        return match["version"] if match else None


@dataclass(frozen=True)
class FromPipeline:
    """One environment for the steps of a pipeline; `notes` are sentences about what it lacks."""

    source: Files
    python: str | None
    indexes: tuple[str, ...]
    default_index: str | None
    notes: tuple[str, ...]


def read(
    path: str | Path, *, interpreter: str | None = None, python: str | None = None
) -> FromPipeline:
    """The environment of a pipeline: a Python file, or a compiled .yaml or .json.

    A Python file is imported by `interpreter` (by default the user's own Python that has kfp), so
    its code runs, here and as this user. `python` is the version to take, whatever the steps'
    images say. Raises PackError: no steps, pins that contradict each other, what only a pod could
    install.
    """
    file = Path(path)
    if not file.is_file():
        raise PackError(f"{file} is not there: give a pipeline's .py, or what it was compiled to")
    if file.suffix == ".py":
        from kitbag.pipeline_module import compiled

        documents = compiled(file, interpreter)
    elif file.suffix in _SUFFIXES:
        documents = _documents(file)
    else:
        raise PackError(f"{file} is no pipeline: give a .py, .yaml, .yml or .json")
    steps = {step.name: step for document in documents for step in _steps(document, str(file))}
    if not steps:
        raise PackError(
            f"{file} holds no step that runs a container: give the file of a @dsl.pipeline or"
            " @dsl.component, or a compiled pipeline"
        )
    return _together(list(steps.values()), file, _names(documents), python)


def _documents(file: Path) -> list[Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PackError(f"{file} can't be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise PackError(f"{file} is over {MAX_BYTES >> 20} MiB: no pipeline needs that")
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = data.decode("utf-8-sig")
        if file.suffix == ".json":
            return [json.loads(text)]
        return list(YAML(typ="safe").load_all(text))
    except UnicodeDecodeError as error:
        raise PackError(f"{file} is not UTF-8 text: compile it again") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise PackError(f"{file} is neither YAML nor JSON: compile it again") from error


def _names(documents: Sequence[Any]) -> list[str]:
    """What the documents call their pipelines."""
    found = [_at(document, "pipelineInfo", "name") for document in documents]
    found += [_at(document, "metadata", "generateName") for document in documents]
    return list(dict.fromkeys(name for name in found if isinstance(name, str)))


def _at(node: Any, *keys: str) -> Any:  # noqa: ANN401 - JSON
    for key in keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _steps(document: Any, file: str) -> Iterator[Step]:  # noqa: ANN401 - JSON
    """The steps of an IR, a PipelineVersion's or job's IR in it, or an Argo Workflow."""
    for root in (document, _at(document, "pipelineSpec"), _at(document, "spec", "pipelineSpec")):
        executors = _at(root, "deploymentSpec", "executors")
        for name, body in executors.items() if isinstance(executors, Mapping) else ():
            yield from _step(name.removeprefix("exec-"), _at(body, "container"), file)
    templates = _at(document, "spec", "templates")
    for template in templates if isinstance(templates, list) else ():
        yield from _step(str(_at(template, "name")), _at(template, "container"), file)


def _step(name: str, container: Any, file: str) -> Iterator[Step]:  # noqa: ANN401 - JSON
    if not isinstance(container, Mapping):
        return
    command = container.get("command")
    words = [str(word) for word in command] if isinstance(command, list) else []
    script = words[2] if words[:2] in (["sh", "-c"], ["bash", "-c"]) and len(words) > 2 else ""
    where = f"{file}: step {name}"
    found = [install(arguments, where) for arguments in installs(script, where)]
    packages = dict.fromkeys(package for one in found for package in one.packages)
    indexes = dict.fromkeys(index for one in found for index in one.indexes)
    default = next((one.default_index for one in found if one.default_index), None)
    image = str(container.get("image") or "")
    yield Step(name, image, tuple(packages), tuple(indexes), default)


def _together(
    steps: Sequence[Step], file: Path, names: Sequence[str], python: str | None
) -> FromPipeline:
    pins: dict[str, tuple[str, str, Step]] = {}
    lines: dict[str, None] = {}
    for step in steps:
        for text in step.packages:
            lines.setdefault(text)
            match = REQUIREMENT.fullmatch(text)
            exact = _EXACT.match(match["rest"]) if match else None
            if match is None or exact is None:
                continue
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            version = re.sub(r"(\.0)+$", "", exact["version"])
            was, line, other = pins.setdefault(name, (version, text, step))
            if was != version:
                raise PackError(
                    f"{file}: step {other.name} installs {line} and step {step.name} installs"
                    f" {text}: one environment holds one of them, so agree on it"
                )
    if not lines:
        raise PackError(
            f"{file}: no step installs packages, so there is nothing to build from: write"
            " packages_to_install, or build a requirements file"
        )
    said = {step.name: step.python for step in steps if step.packages}
    python = python or _agreed(file, "runs on Python", said)
    default = _agreed(file, "takes packages from", {s.name: s.default_index for s in steps})
    indexes = tuple(dict.fromkeys(index for step in steps for index in step.indexes))
    title = derived_name(names[0] if len(names) == 1 else file.stem)
    text = "".join(f"{line}\n" for line in sorted(lines, key=lambda line: (line.lower(), line)))
    environment = f"{DEFAULT_NAMESPACE}/{title}" if title else None
    notes = tuple(
        f"step {step.name} begins with {step.image}, whose own packages are not known: name those"
        " that it needs"
        for step in steps
        if step.packages and step.image and step.python is None
    )
    return FromPipeline(
        Files({"requirements.txt": text}, environment), python, indexes, default, notes
    )


def _agreed(file: Path, what: str, said: Mapping[str, str | None]) -> str | None:
    """What all steps that say something say."""
    found: dict[str, str] = {}
    for step, value in said.items():
        if value is not None:
            found.setdefault(value, step)
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise PackError(
            f"{file}: step {first} {what} {one} and step {second} {what} {other}: one environment"
            " can't do both"
        )
    return next(iter(found), None)
