"""Helm's own engine and Kubernetes' own types, built from `tests/cluster` by the Go toolchain."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rig.golang import built
from rig.process import temp_dir
from ruamel.yaml import YAML

_SOURCE = Path(__file__).parents[1] / "cluster"
OPERATORS = (
    "cert-manager.io",
    "keda.sh",
    "monitoring.coreos.com",
    "networking.istio.io",
    "security.istio.io",
)
"""Groups of objects that the chart makes for others' controllers."""
_CUSTOM = re.compile(rf"^apiVersion: ({'|'.join(map(re.escape, OPERATORS))})/", re.MULTILINE)
_BETWEEN = re.compile(r"^---$", re.MULTILINE)

Object = dict[str, Any]


class RefusedError(Exception):
    """A chart, its values or its objects are wrong; the text is what the tool said of it."""


class Helm:
    """Renders charts and checks objects: what `tests/cluster/charts` can do."""

    def __init__(self, binary: Path) -> None:
        self._binary = binary

    def template(self, chart: Path, release: str, values: Mapping[str, Any]) -> str:
        """What `helm template` prints, hooks included, then the notes as comments."""
        with temp_dir("values") as folder:
            return self._run("template", chart, release, _write(folder, values))

    def objects(self, chart: Path, release: str, values: Mapping[str, Any]) -> list[Object]:
        """The rendered objects, each checked against the type that Kubernetes has for it.

        Those of other groups (`OPERATORS`) are for an API server with their definitions to check.
        """
        text = self.template(chart, release, values)
        parts = [part for part in _BETWEEN.split(text) if "\nkind:" in part]
        self.check("\n---\n".join(part for part in parts if not _CUSTOM.search(part)))
        return [each for each in YAML(typ="safe").load_all(text) if each]

    def lint(self, chart: Path, values: Mapping[str, Any]) -> None:
        """`helm lint --strict`."""
        with temp_dir("values") as folder:
            self._run("lint", chart, _write(folder, values))

    def check(self, objects: str) -> None:
        """Decode YAML documents strictly, as the API server does; raises `RefusedError`."""
        self._run("check", stdin=objects)

    def _run(self, *arguments: str | Path, stdin: str = "") -> str:
        done = subprocess.run(
            [self._binary, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stderr.strip())
        return done.stdout


def helm(cache: Path) -> Helm:
    """Build it once into `cache`, under a name that changes with its source and its locked modules.

    About two minutes on two cores where Go has cached nothing, seconds where it has.
    """
    binary = built(
        "charts",
        module=_SOURCE,
        package="./charts",
        cache=cache,
        sources=[_SOURCE / "go.mod", _SOURCE / "go.sum", *(_SOURCE / "charts").rglob("*.go")],
    )
    return Helm(binary)


def _write(folder: Path, values: Mapping[str, Any]) -> Path:
    path = folder / "values.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(dict(values), stream)
    return path
