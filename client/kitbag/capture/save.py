"""Build what was captured as a new version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kitbag.capture.capture import Capture
from kitbag.errors import KitbagError

if TYPE_CHECKING:
    from kitbag.builds import Build
    from kitbag.client import Client

_NOT_FOUND = 404
# What a new version keeps of the request that the last one was built by. Extras, groups and
# exclude-newer chose packages, which are all named now.
_KEPT = ("accelerator", "base", "compression", "indexes", "default_index", "index_strategy")


def save(client: Client, environment: str, capture: Capture) -> Build:
    """Ask for a new version of NS/NAME with what is installed now; doesn't wait.

    Base, accelerator and indexes are those of its latest version, else those of the image. Raises
    KitbagError, and PackError for a package of a folder that can't be packed.
    """
    asked = _last_request(client, environment)
    chosen = {key: asked[key] for key in _KEPT if asked.get(key)}
    if "base" not in chosen and not asked and capture.image.base not in (None, "auto"):
        chosen["base"] = capture.image.base
    python = ".".join(capture.image.python.split(".")[:2])
    with capture.source(environment) as source:
        return client.build(source, name=environment, python=python, **chosen)


def _last_request(client: Client, environment: str) -> Mapping[str, Any]:
    """The request of the latest version's build; empty where there is none."""
    try:
        version = client.version(environment)
        build = client.build_status(version.build) if version.build else None
    except KitbagError as error:
        if error.problem is None or error.problem.status != _NOT_FOUND:
            raise
        return {}
    request = build.json.get("request") if build else None
    return request if isinstance(request, Mapping) else {}
