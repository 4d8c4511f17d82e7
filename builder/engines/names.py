"""What builds are called inside an engine, so that a sweep knows whose is what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from builder.engines.protocol import STAGES, Job
from builder.layered import tag_of
from builder.model import Pinned
from builder.stores.protocol import Store
from builder.stores.registry import RegistryStore

LABEL = "kitbag.dev/build"
BUILDS = "kitbag.dev/build"
"""The repository whose tags are the ids of builds; only ever a name inside an engine."""
BASES = "kitbag.dev/base"

_BASE = "._base"
"""What follows a job's id in the name of its base; no job's own id ends so."""
_STAGED = re.compile(rf"(?:.*/)?{re.escape(STAGES)}.+:([^:/]+)")
_PUSHED = re.compile(r":(?:image-[0-9a-f]{16}|cache)$")


def base_name(base: Pinned, store: Store, job: Job) -> str:
    """What an engine calls a base of the store; one that it won't keep has the job's id."""
    if isinstance(store, RegistryStore):
        return base.image if job.keep_base else f"{base.image.partition('@')[0]}:{job.id}"
    return f"{BASES}:{tag_of(base.digest)}" if job.keep_base else own_name(job)


def own_name(job: Job) -> str:
    """A name of a base that is the job's own."""
    return f"{BUILDS}:{job.id}{_BASE}"


def belongs(build: str, job: Job) -> bool:
    """Whether the id in a name is the job's, or that of its base."""
    return build in (job.id, f"{job.id}{_BASE}")


def pushed_name(store: RegistryStore, repo: str, image_id: str) -> str:
    """A name that follows from the image, so that the same image leaves the same tags behind."""
    named = store.reference(repo, image_id).partition("@")[0]
    return f"{named}:image-{image_id.removeprefix('sha256:')[:16]}"


def build_of(name: str) -> str | None:
    """The id that an image's name has of a build, None for anything else's."""
    if name.startswith(f"{BUILDS}:"):
        return name.removeprefix(f"{BUILDS}:")
    match = _STAGED.fullmatch(name)
    return match[1] if match else None


def pushed_names(image: Mapping[str, Any]) -> list[str]:
    """Names that a build's image got to be pushed under, which a killed worker left."""
    tags = image.get("RepoTags") or ()
    return [str(each) for each in tags if _PUSHED.search(str(each))]
