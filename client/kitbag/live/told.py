"""What a container is told of its own image by variables, which must change along with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..refs import EnvRef
from ..specs.path import Item, Key, parse

ENVIRONMENT, BASE_IMAGE = "KITBAG_ENVIRONMENT", "KALE_DEFAULT_BASE_IMAGE"
_IMAGE = ".image"


def following(
    item: Mapping[str, Any], images: Mapping[str, str | None], version: EnvRef | None
) -> dict[str, str]:
    """By path the values that go along with new images, which are given by path too.

    The image itself in KALE_DEFAULT_BASE_IMAGE, so that what is compiled there runs on it, and its
    version in KITBAG_ENVIRONMENT; only where they say what was true before.
    """
    found: dict[str, str] = {}
    for path, image in images.items():
        if not path.endswith(_IMAGE) or image is None:
            continue
        start = path.removesuffix(_IMAGE)
        container = _at(item, start)
        if not isinstance(container, Mapping):
            continue
        for number, variable in enumerate(container.get("env") or ()):
            new = _new(variable, container.get("image"), image, version)
            if new is not None and new != variable["value"]:
                found[f"{start}.env[{number}].value"] = new
    return found


def _new(
    variable: Mapping[str, Any], before: object, image: str, version: EnvRef | None
) -> str | None:
    value = variable.get("value")
    if variable.get("name") == BASE_IMAGE and value == before:
        return image
    if variable.get("name") == ENVIRONMENT and version is not None:
        name, _, number = str(value).partition(":")
        if number and name == version.environment:
            return str(version)
    return None


def _at(item: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """What is there; None where a step leads to nothing."""
    try:
        for step in parse(path):
            assert isinstance(step, (Key, Item))
            item = item[step.name if isinstance(step, Key) else step.number]
    except (KeyError, IndexError, TypeError):
        return None
    return item
