"""Workspace kinds (Notebooks v2): an image in use can't change, so choices are added to the list.

`spec.podTemplate.options.imageConfig` has `values`, each with an `id`, a `spec.image` and perhaps a
`redirect.to`, and names the first choice of new workspaces in `spawner.default`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ..specs import ImageRef

LIST = "spec.podTemplate.options.imageConfig"


def appended(
    item: Mapping[str, Any], image: str, instead_of: Callable[[str], str | None], label: str
) -> dict[str, Any] | None:
    """The object with choices of what `instead_of` says, to which those it is about are redirected.

    Those are the ones of the image's repository, where they end if they redirect to others. None if
    each of them is what it is to be already. What is asked for twice is added once, named for
    `label`.
    """
    changed = copy.deepcopy(dict(item))
    config = changed["spec"]["podTemplate"]["options"]["imageConfig"]
    values: list[dict[str, Any]] = config["values"]
    ends = [value for value in values if not value.get("redirect") and _ours(value, image)]
    old = [value for value in ends if value["spec"]["image"] != instead_of(value["spec"]["image"])]
    if not old:
        return None
    for value in old:
        wanted = instead_of(value["spec"]["image"])
        new = next((other for other in ends if other["spec"]["image"] == wanted), None)
        if new is None:
            new = copy.deepcopy(value)
            new["id"] = _free({str(each["id"]) for each in values}, str(value["id"]), label)
            new["spec"]["image"] = wanted
            values.append(new)
            ends.append(new)
        value["redirect"] = {"to": new["id"]}
        if config.get("spawner", {}).get("default") == value["id"]:
            config["spawner"]["default"] = new["id"]
    return changed


def offered(item: Mapping[str, Any], image: str) -> list[str]:
    """The images of the repository that are offered and redirect to no other."""
    config = item["spec"]["podTemplate"]["options"]["imageConfig"]
    return [
        str(value["spec"]["image"])
        for value in config["values"]
        if not value.get("redirect") and _ours(value, image)
    ]


def _ours(value: Mapping[str, Any], image: str) -> bool:
    try:
        there = ImageRef.parse(str(value["spec"]["image"]))
    except (KeyError, ValueError):
        return False
    return there.name == ImageRef.parse(image).name


def _free(taken: set[str], old: str, label: str) -> str:
    """An id for the new choice: the old one's with the label in place of its last label."""
    origin, _, last = old.rpartition("-")
    stem = origin if origin and last[:1] in "vd" and last[1:].isalnum() else old
    number, name = 1, f"{stem}-{label}"
    while name in taken:
        number += 1
        name = f"{stem}-{label}-{number}"
    return name
