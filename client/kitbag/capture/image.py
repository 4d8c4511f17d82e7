"""What the image that is running says of itself, under /opt/kitbag (docs/launch.md)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kitbag.errors import KitbagError
from kitbag.refs import EnvRef

FACTS = Path("/opt/kitbag/environment.json")
LOCK = Path("/opt/kitbag/pylock.toml")

# The lock is Kitbag's own rendering (PEP 751): one package a table, its URL on one line.
_ARCHIVE = re.compile(
    r'^name = "(?P<name>[^"]+)"\nversion = "[^"]*"\narchive = \{ url = "(?P<url>[^"]+)"',
    re.MULTILINE,
)
# https://github.com/kubeflow/kubeflow, notebook-controller: NB_PREFIX is /notebook/NAMESPACE/NAME.
_NB_PREFIX = re.compile(r"/notebook/(?P<namespace>[^/]+)/(?P<name>[^/]+)/?")
_WORKSPACE = re.compile(r"/workspace/connect/")


@dataclass(frozen=True)
class Image:
    """The environment as it was built: packages with their versions, and URLs of those that came
    from one; Python's version; the base's name."""

    prefix: Path
    python: str
    base: str | None
    packages: Mapping[str, str] = field(repr=False)
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def site(self) -> Path:
        """The folder that packages are installed into."""
        minor = ".".join(self.python.split(".")[:2])
        return self.prefix / "lib" / f"python{minor}" / "site-packages"


def image(facts: Path = FACTS, lock: Path = LOCK) -> Image:
    """The image that this process runs in; KitbagError if it is none of Kitbag's."""
    try:
        data = json.loads(facts.read_bytes())
        text = lock.read_text()
    except FileNotFoundError as error:
        raise KitbagError(
            f"{error.filename} is not there: capture works inside of an image that Kitbag built"
        ) from error
    except (OSError, ValueError) as error:
        raise KitbagError(f"{facts} can't be read: {error}") from error
    try:
        base = data["base"]["name"]
        return Image(
            prefix=Path(data["prefix"]),
            python=str(data["python"]),
            base=str(base) if base else None,
            packages={str(name): str(version) for name, version in data["packages"].items()},
            urls={match["name"]: match["url"] for match in _ARCHIVE.finditer(text)},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise KitbagError(f"{facts} is not what Kitbag writes: it lacks {error}") from error


def environment_name(given: str | None = None) -> str:
    """The environment that is meant: the one given, KITBAG_ENVIRONMENT, or the notebook's own name.

    Raises KitbagError where none of them says one, or it can be no name.
    """
    text = given or os.environ.get("KITBAG_ENVIRONMENT")
    if not text:
        notebook = _notebook()
        if notebook is None:
            raise KitbagError(
                "nothing says which environment this is: give --name NS/NAME, or set"
                " KITBAG_ENVIRONMENT"
            )
        text = "/".join(notebook)
    try:
        return EnvRef.parse(text).environment
    except ValueError as error:
        raise KitbagError(str(error)) from error


def notebook_name() -> tuple[str, str]:
    """The namespace and name of the Kubeflow Notebook that this process runs in.

    Raises KitbagError elsewhere, with what to do there instead.
    """
    notebook = _notebook()
    if notebook is not None:
        return notebook
    if _WORKSPACE.match(os.environ.get("NB_PREFIX", "")):
        raise KitbagError(
            "this is a Workspace: stop and start it on Kubeflow's page, which shows the new version"
            " as an update"
        )
    raise KitbagError(
        "this is no Notebook of Kubeflow's, which NB_PREFIX would name: stop this server and start"
        " it again on the new version"
    )


def _notebook() -> tuple[str, str] | None:
    found = _NB_PREFIX.fullmatch(os.environ.get("NB_PREFIX", ""))
    return None if found is None else (found["namespace"], found["name"])
