"""Kitbag for its users: SDK, command line, and pins in manifests.

`from kitbag import Client` is the way in. Nothing is imported before it is used: the command line
starts fast, and pins work where httpx isn't installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitbag.builds import Build, BuildState, Event, EventKind, Plan, Stats, Way
    from kitbag.client import Client
    from kitbag.errors import (
        BuildFailedError,
        KitbagError,
        PackError,
        Problem,
        StillRunningError,
        UnreachableError,
    )
    from kitbag.refs import EnvRef
    from kitbag.source import Files, Folder, Git
    from kitbag.versions import (
        Change,
        Diff,
        Environment,
        Layer,
        Package,
        Resolved,
        Version,
        VersionImage,
    )

__version__ = "0.1.0"

__all__ = [
    "Build",
    "BuildFailedError",
    "BuildState",
    "Change",
    "Client",
    "Diff",
    "EnvRef",
    "Environment",
    "Event",
    "EventKind",
    "Files",
    "Folder",
    "Git",
    "KitbagError",
    "Layer",
    "PackError",
    "Package",
    "Plan",
    "Problem",
    "Resolved",
    "Stats",
    "StillRunningError",
    "UnreachableError",
    "Version",
    "VersionImage",
    "Way",
]

_HOMES = {
    "kitbag.builds": ("Build", "BuildState", "Event", "EventKind", "Plan", "Stats", "Way"),
    "kitbag.client": ("Client",),
    "kitbag.errors": (
        "BuildFailedError",
        "KitbagError",
        "PackError",
        "Problem",
        "StillRunningError",
        "UnreachableError",
    ),
    "kitbag.refs": ("EnvRef",),
    "kitbag.source": ("Files", "Folder", "Git"),
    "kitbag.versions": (
        "Change",
        "Diff",
        "Environment",
        "Layer",
        "Package",
        "Resolved",
        "Version",
        "VersionImage",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def load_ipython_extension(ipython: Any) -> None:  # noqa: ANN401 - IPython's shell
    """`%load_ext kitbag` in a notebook brings `%kitbag save`."""
    from kitbag.magic import load

    load(ipython)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
