"""The chart, rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rig.helm import Helm, Object
from ruamel.yaml import YAML

CHART = Path(__file__).parents[2] / "charts/kitbag"
EXAMPLES = sorted((CHART / "ci").glob("*.yaml"))

Render = Callable[..., list[Object]]


def example(name: str) -> dict[str, Any]:
    """The values of charts/kitbag/ci/NAME.yaml."""
    values: dict[str, Any] = YAML(typ="safe").load(CHART / "ci" / f"{name}.yaml")
    return values


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """These values with others laid over them, as Helm does with two files."""
    both = dict(values)
    for key, value in more.items():
        under = both.get(key)
        nested = isinstance(under, Mapping) and isinstance(value, Mapping)
        both[key] = merged(under, value) if nested else value
    return both


def only(objects: list[Object], kind: str, ending: str = "") -> Object:
    """The one object of a kind whose name ends so."""
    found = [each for each in objects if each["kind"] == kind]
    named = [each for each in found if each["metadata"]["name"].endswith(ending)]
    assert len(named) == 1, [each["metadata"]["name"] for each in found]
    return named[0]


@pytest.fixture
def render(helm: Helm) -> Render:
    """Renders the smallest example with more values over it: `render({"store": …})`."""

    def with_more(more: Mapping[str, Any] | None = None, *, of: str = "smallest") -> list[Object]:
        return helm.objects(CHART, "kb", merged(example(of), more or {}))

    return with_more
