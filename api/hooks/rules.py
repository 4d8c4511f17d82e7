"""What a hook's rule makes of an event: which environment, and whether anything matters."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from catalog import names
from catalog.hook_models import Hook
from catalog.models import Json

CONFIG_DIRS = (".binder", "binder")
# What a source is detected by, what that may include, and what is run at build time.
_NAMES = frozenset(
    {
        *("apt.txt", "postBuild", "start", "Dockerfile", "runtime.txt", "setup.py", "setup.cfg"),
        *("Pipfile", "Pipfile.lock", "DESCRIPTION", "install.R", "default.nix", "environment.yml"),
        *("environment.yaml", "pyproject.toml", "uv.lock", "uv.toml", ".python-version"),
        *("Project.toml", "JuliaProject.toml", "Manifest.toml", "JuliaManifest.toml"),
    }
)
_ENDINGS = (".txt", ".in", ".lock", ".whl")
_LOCKS = "pylock*.toml"


def environment_of_branch(hook: Hook, branch: str) -> str | None:
    """The environment that the branch builds; None if no rule is for it.

    `{branch}` in a rule's environment stands for the branch, made a valid name.
    """
    return _by_rule(hook.branches, branch, "{branch}")


def environment_of_tag(hook: Hook, tag: str) -> str | None:
    """The environment that has the tag's name for a version; None if no rule is for it."""
    return _by_rule(hook.tags, tag, "{tag}")


def _by_rule(rules: Sequence[Json], name: str, hole: str) -> str | None:
    for rule in rules:
        if fnmatch.fnmatchcase(name, str(rule["pattern"])):
            template = str(rule["environment"])
            return _valid(template.replace(hole, names.derived(name) or hole.strip("{}")))
    return None


def environment_of_pull(hook: Hook, number: int) -> str:
    """NS/NAME-pr-NUMBER: its versions move no name of the environment's own."""
    return _valid(f"{hook.environment.full_name}-pr-{number}")


def _valid(full_name: str) -> str:
    namespace, _, name = full_name.partition("/")
    return f"{namespace}/{name[: names.MAX_PART_CHARS].rstrip('-')}"


def is_relevant(
    files: Collection[str] | None, subdir: str | None, *, whole_repository: bool
) -> bool | None:
    """Whether any of the changed files may change the environment; None if that is unknown.

    `whole_repository`: the image holds the repository itself, so all of it matters.
    """
    if files is None:
        return None
    return any(_matters(path, subdir or "", whole_repository) for path in files)


def _matters(path: str, subdir: str, whole_repository: bool) -> bool:
    place = PurePosixPath(path)
    if whole_repository:
        return not subdir or place.is_relative_to(subdir)
    # Files may include others from anywhere in the repository, so the folder does not count.
    if set(place.parts[:-1]) & set(CONFIG_DIRS):
        return True
    name = place.name
    return name in _NAMES or name.endswith(_ENDINGS) or fnmatch.fnmatchcase(name, _LOCKS)
