"""Read what a pyproject.toml says statically; no build backend is ever run for it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.dependency_groups import resolve_dependency_groups
from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from builder.detect.files import read_text, read_toml
from builder.detect.lines import needs_engine, read_line
from builder.detect.model import Asked, Requirements
from builder.detect.requirements import Reader, index_url
from builder.errors import EngineNeededError, InvalidSpecError

_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}


@dataclass(frozen=True, slots=True)
class Pyproject:
    """A parsed pyproject.toml; `text` is kept to find lines."""

    name: str
    text: str
    data: Mapping[str, Any]

    def table(self, *keys: str) -> Mapping[str, Any]:
        """A nested table, empty when it isn't there; raises InvalidSpecError if it is no table."""
        value: Any = self.data
        for key in keys:
            value = value.get(key, {})
            if not isinstance(value, dict):
                raise self.bad(".".join(keys), "is not a table")
        return dict(value)

    def bad(self, key: str, reason: str) -> InvalidSpecError:
        """The error for a key that can't be read."""
        line = self.line(key.rpartition(".")[2])
        return InvalidSpecError(
            f"{self.name}, line {line}: '{key}' {reason}.", file=self.name, line=line
        )

    def line(self, text: str) -> int:
        """The first line with `text`, 1 when there is none."""
        position = self.text.find(text)
        return self.text.count("\n", 0, max(position, 0)) + 1

    @property
    def declares(self) -> bool:
        """Whether it describes a project, and not only the settings of some tools."""
        return any(
            bool(table)
            for table in (
                self.table("project"),
                self.table("build-system"),
                self.table("dependency-groups"),
                self.table("tool", "poetry"),
            )
        )

    def code_needed(self) -> str | None:
        """Why the dependencies can't be known without running code; None when they can."""
        project = self.table("project")
        if not project:
            if self.table("tool", "poetry"):
                return "it lists its dependencies in [tool.poetry]"
            if self.table("build-system"):
                return "it has a build system and no [project] table"
            return None
        if self.dynamic and not self.dynamic_files():
            return "its dependencies are dynamic"
        return None

    @property
    def dynamic(self) -> bool:
        """Whether the dependencies are left to the build backend."""
        listed = self.table("project").get("dynamic", [])
        return isinstance(listed, list) and "dependencies" in listed

    def dynamic_files(self) -> tuple[str, ...]:
        """Requirement files that setuptools would read the dynamic dependencies from."""
        dynamic = self.table("tool", "setuptools", "dynamic").get("dependencies", {})
        named = dynamic.get("file", ()) if isinstance(dynamic, dict) else ()
        listed = [named] if isinstance(named, str) else named
        return tuple(str(each) for each in listed) if isinstance(listed, list) else ()


def read_pyproject(root: Path, name: str) -> Pyproject:
    """Read the file; raises InvalidSpecError with the line when it is not TOML."""
    return Pyproject(name, read_text(root, name), read_toml(root, name))


def dependencies(
    project: Pyproject,
    root: Path,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
    *,
    leave: bool = False,
) -> Requirements:
    """The project's dependencies with those of the chosen extras and dependency groups.

    Sources, indexes, constraints and overrides of [tool.uv] count. Raises InvalidSpecError for an
    unknown extra or group, EngineNeededError for a dependency on a repository or a folder, which
    `leave` sets aside.
    """
    reader = Reader(root, leave=leave)
    reader.files.append(project.name)
    if project.dynamic:
        for each in project.dynamic_files():
            reader.line(f"-r {shlex.quote(each)}", project.name, project.line(each))
    for text in _texts(project, extras, groups):
        try:
            reader.asked.append(read_line(text, project.name, project.line(text)))
        except EngineNeededError:
            if not leave:
                raise
            reader.left.append(text)
    settings = project.table("tool", "uv")
    read = reader.result()
    package_indexes = _sources(project, read.asked, extras, groups)
    indexes = _tables(project, settings.get("index", []))
    default = next((str(each["url"]) for each in indexes if each.get("default")), None)
    more = tuple(
        str(each["url"]) for each in indexes if not each.get("default") and not each.get("explicit")
    )
    return Requirements(
        asked=read.asked,
        constraints=(*read.constraints, *_listed(project, settings, "constraint-dependencies")),
        overrides=_listed(project, settings, "override-dependencies"),
        index_url=default or read.index_url,
        extra_index_urls=(*more, *read.extra_index_urls),
        find_links=read.find_links,
        no_index=read.no_index,
        pre=read.pre,
        package_indexes=package_indexes,
        files=read.files,
        left=read.left,
    )


def _texts(project: Pyproject, extras: Collection[str], groups: Collection[str]) -> list[str]:
    table = project.table("project")
    texts = _strings(project, table.get("dependencies", []), "project.dependencies")
    extra_lists = project.table("project", "optional-dependencies")
    optional = {canonicalize_name(key): value for key, value in extra_lists.items()}
    pending = [canonicalize_name(extra) for extra in extras]
    seen: set[str] = set()
    while pending:
        extra = pending.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in optional:
            raise project.bad("optional-dependencies", f"has no extra '{extra}'; name another")
        for text in _strings(project, optional[extra], f"optional-dependencies.{extra}"):
            own = _own_extras(text, str(table.get("name", "")))
            if own is None:
                texts.append(text)
            else:
                pending.extend(canonicalize_name(each) for each in own)
    try:
        texts += resolve_dependency_groups(project.table("dependency-groups"), *groups)
    except (LookupError, ValueError, TypeError, ExceptionGroup) as error:
        reason = str(error).splitlines()[0][:120]
        raise project.bad("dependency-groups", f"can't be read ({reason})") from error
    return texts


def _own_extras(text: str, project: str) -> list[str] | None:
    """The extras of a requirement on the project itself, None for any other requirement."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if not project or canonicalize_name(requirement.name) != canonicalize_name(project):
        return None
    return [canonicalize_name(extra) for extra in sorted(requirement.extras)]


def _sources(
    project: Pyproject, asked: Collection[Asked], extras: Collection[str], groups: Collection[str]
) -> dict[str, str]:
    """The only index of each package that [tool.uv.sources] binds to one."""
    named = {
        str(each.get("name")): str(each["url"])
        for each in _tables(project, project.table("tool", "uv").get("index", []))
    }
    used = {each.name for each in asked}
    chosen: dict[str, Collection[str]] = {
        "extra": {canonicalize_name(each) for each in extras},
        "group": set(groups),
    }
    found: dict[str, str] = {}
    for raw, source in project.table("tool", "uv", "sources").items():
        name = str(canonicalize_name(raw))
        if name not in used:
            continue
        for entry in source if isinstance(source, list) else [source]:
            if not isinstance(entry, dict):
                raise project.bad(f"tool.uv.sources.{raw}", "is not a table")
            if not _applies(project, raw, entry, chosen):
                continue
            if "index" not in entry:
                raise needs_engine(f"'{name}' (tool.uv.sources)", project.name, project.line(raw))
            index = str(entry["index"])
            if index not in named:
                raise project.bad(f"tool.uv.sources.{raw}", "names an index that isn't defined")
            found.setdefault(name, named[index])
    return found


def _applies(
    project: Pyproject, name: str, entry: Mapping[str, Any], chosen: Mapping[str, Collection[str]]
) -> bool:
    """Whether a source counts on Linux with the chosen extras and groups."""
    for key, names in chosen.items():
        if key in entry and str(entry[key]) not in names:
            return False
    try:
        return "marker" not in entry or Marker(str(entry["marker"])).evaluate(_LINUX)
    except (InvalidMarker, ValueError) as error:
        raise project.bad(f"tool.uv.sources.{name}", "has a marker that can't be read") from error


def _listed(project: Pyproject, settings: Mapping[str, Any], key: str) -> tuple[Asked, ...]:
    texts = _strings(project, settings.get(key, []), f"tool.uv.{key}")
    return tuple(read_line(text, project.name, project.line(text)) for text in texts)


def _strings(project: Pyproject, value: object, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise project.bad(key, "is not a list of requirements")
    return list(value)


def _tables(project: Pyproject, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(
        isinstance(each, dict) and isinstance(each.get("url"), str) for each in value
    ):
        raise project.bad("tool.uv.index", "is not a list of tables with a url")
    for each in value:
        index_url(each["url"], project.name, project.line(each["url"]))
    return list(value)
