"""The image options of a WorkspaceKind (Notebooks v2): adds what is offered, retires what isn't.

`spec.podTemplate.options.imageConfig.values[]` are what users choose from. A running Workspace has
its option by `id`, so an option is never changed in place and never taken out: what is old gets a
`redirect`, and what is no longer offered is `hidden` (kubeflow/notebooks,
workspaces/controller/api/v1beta1/workspacekind_types.go).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .choices import LIST
from .errors import RefusedError

API_VERSION, KIND = "kubeflow.org/v1beta1", "WorkspaceKind"
_MAX_TITLE = 128
_MAX_LABEL = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """The version of an environment that is offered."""

    environment: str
    number: int
    image: str
    python: str

    @property
    def title(self) -> str:
        """NS/NAME:NUMBER."""
        return f"{self.environment}:{self.number}"


def updated(
    item: Mapping[str, Any], offers: Mapping[str, Offer], mine: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The `imageConfig` with an option for each offer, and which options are ours: ids to names.

    `mine` is what was ours before. Of those, the ones that an environment's new option replaces
    redirect to it; where nothing is offered any more the last is hidden. The default goes along if
    it was one of them. An option of somebody else's with the same image is left, and does for ours.
    Raises RefusedError for a kind without options to take the ports from.
    """
    config = copy.deepcopy(dict(_config(item)))
    values: list[dict[str, Any]] = config["values"]
    ours = {key: name for key, name in mine.items() if key in _by_id(values)}
    for name, offer in offers.items():
        new = _option_for(config, values, offer, ours)
        for old in (one for one in values if ours.get(one["id"]) == name and one is not new):
            if "redirect" not in old:
                old["redirect"] = _redirect(new, offer)
            _follow(config, str(old["id"]), str(new["id"]))
    for value in values:
        if value["id"] in ours and ours[value["id"]] not in offers and not value.get("redirect"):
            value.setdefault("spawner", {})["hidden"] = True
    return config, ours


def _config(item: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        config: Mapping[str, Any] = item["spec"]["podTemplate"]["options"]["imageConfig"]
        ported = any(
            value["id"] and (value.get("spec") or {}).get("ports") for value in config["values"]
        )
    except (KeyError, TypeError, AttributeError):
        ported = False
    if not ported:
        raise RefusedError(f"its {LIST} has no option with ports: give it one, to take them from")
    return config


def _by_id(values: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {str(value["id"]): value for value in values}


def _option_for(
    config: Mapping[str, Any],
    values: list[dict[str, Any]],
    offer: Offer,
    ours: dict[str, str],
) -> dict[str, Any]:
    """The option with the offer's image: the one there is, shown, or else a new one."""
    there = [one for one in values if (one.get("spec") or {}).get("image") == offer.image]
    for value in there:
        if ours.get(value["id"]) == offer.environment:
            # It was offered before, and is the newest again.
            value.pop("redirect", None)
            if (value.get("spawner") or {}).get("hidden"):
                value["spawner"]["hidden"] = False
            return value
    for value in there:
        if value["id"] not in ours and not value.get("redirect"):
            return value
    made = _made(config, _free_id(values, offer), offer)
    values.append(made)
    ours[made["id"]] = offer.environment
    return made


def _free_id(values: list[dict[str, Any]], offer: Offer) -> str:
    """NS.NAME.NUMBER; with the digest's first digits where another image has that id."""
    name = f"{offer.environment.replace('/', '.')}.{offer.number}"
    if name not in _by_id(values):
        return name
    return f"{name}-{offer.image.rpartition(':')[2][:10]}"


def _made(config: Mapping[str, Any], option_id: str, offer: Offer) -> dict[str, Any]:
    """A new option; its ports are those of the default option, which the operator chose."""
    default = (config.get("spawner") or {}).get("default")
    ported = [value for value in config["values"] if (value.get("spec") or {}).get("ports")]
    model = next((value for value in ported if value["id"] == default), ported[0])
    return {
        "id": option_id,
        "spawner": {
            "displayName": offer.title[:_MAX_TITLE],
            "description": f"{offer.title}, built by Kitbag",
            "labels": [{"key": "python_version", "value": offer.python[:_MAX_LABEL]}],
        },
        "spec": {
            "image": offer.image,
            "imagePullPolicy": "IfNotPresent",
            "ports": copy.deepcopy(model["spec"]["ports"]),
        },
    }


def _redirect(new: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    text = f"{offer.environment} has a version {offer.number}"
    return {"to": new["id"], "message": {"level": "Info", "text": text}}


def _follow(config: dict[str, Any], old: str, new: str) -> None:
    spawner = config.get("spawner") or {}
    if spawner.get("default") == old:
        spawner["default"] = new
