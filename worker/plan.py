"""Says what a build would do, without doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from builder import cuda, layered
from builder.detect import Kind
from builder.errors import EngineNeededError
from catalog import versions
from catalog.engine import reading
from catalog.errors import EnvironmentNotFoundError, ImageNotFoundError, VersionNotFoundError
from worker import binder
from worker.finished import Prepared
from worker.request import BuildRequest
from worker.services import Services

_SERVER = "jupyterlab"
_NO_SERVER = (
    "The environment has no JupyterLab: its image runs commands but can't serve a notebook; "
    "add jupyterlab to the requirements if it should."
)
_UNKNOWN = (
    "What is installed is decided in a container, so packages and sizes are known afterwards."
)
_NO_CUDA = (
    "No package says which CUDA it is for, so the image demands no driver; "
    "check that the requirements name the GPU builds."
)


def describe(
    services: Services,
    request: BuildRequest,
    prepared: Sequence[Prepared],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The plan as the API answers it: sizes in bytes, packages sorted by name.

    What isn't in `images` is about the first image, but for what is moved, downloaded and new: this
    is of all images together, and what two of them share counts for the first alone.
    """
    first = prepared[0]
    if first.detected.kind is Kind.BINDER:
        return _of_stock(services, first, warnings)
    ahead = _Ahead()
    images = [_image(services, request, each, ahead) for each in prepared]
    return images[0] | {
        "way": str(first.detected.way),
        "why": first.detected.why,
        "files": list(dict.fromkeys(file for each in prepared for file in each.detected.files)),
        "layers": {
            kind: sum(image["layers"][kind] for image in images) for kind in ("known", "new")
        },
        "bytes_to_move": sum(image["bytes_to_move"] for image in images),
        "bytes_to_download": sum(image["bytes_to_download"] for image in images),
        "images": images,
        "warnings": [
            *warnings,
            *(
                f"{each.accelerator} on {each.base.platform}: {text}" if len(images) > 1 else text
                for each in prepared
                for text in _warnings(each)
            ),
            *_engine(services, first),
        ],
    }


def _of_stock(services: Services, prepared: Prepared, warnings: Sequence[str]) -> dict[str, Any]:
    """The plan where a buildpack of repo2docker's decides in a container what is installed."""
    base, detected = prepared.base, prepared.detected
    return {
        "way": str(detected.way),
        "why": detected.why,
        "files": list(detected.files),
        "python": base.python.version or None,
        "base": {"name": base.name, "image": base.image, "digest": base.digest},
        "cuda": None,
        "packages": [],
        "layers": {"known": 0, "new": 0},
        "bytes_to_move": 0,
        "bytes_to_fetch": base.size_bytes,
        "bytes_to_download": 0,
        "image_bytes": base.size_bytes,
        "warnings": [*warnings, _UNKNOWN, *_engine(services, prepared)],
    }


def _engine(services: Services, prepared: Prepared) -> list[str]:
    """What keeps this plan from being carried out."""
    try:
        binder.admit(services, prepared.detected)
    except EngineNeededError as error:
        return [error.detail]
    except binder.ElsewhereError:
        return []
    return []


@dataclass(slots=True)
class _Ahead:
    """What the images before will have made and fetched: keys, digests, hashes of wheels."""

    done: set[str] = field(default_factory=set)

    def first(self, item: str) -> bool:
        """Whether nobody asked for this before."""
        new = item not in self.done
        self.done.add(item)
        return new


def _image(
    services: Services, request: BuildRequest, prepared: Prepared, ahead: _Ahead
) -> dict[str, Any]:
    base, lock = prepared.base, prepared.lock
    tools = services.tools(base.python.version, request.environment, request.compression)
    plan = layered.planned_layers(lock, base, tools)
    digests = [item.known.layer.descriptor.digest for item in plan if item.known]
    below = [layer.descriptor.digest for layer in base.layers]
    missing = tools.store.missing(request.environment, [*digests, *below])
    fresh = [item for item in plan if item.known is None and ahead.first(item.key)]
    how = layered.recipe(base, tools)
    known = {wheel.name for item in plan if item.known for wheel in item.group.wheels}
    to_fetch = [
        wheel
        for item in fresh
        for wheel in item.group.wheels
        if services.cache.get(how.spliced.key(wheel.sha256)) is None and ahead.first(wheel.sha256)
    ]
    wheels_bytes = sum(wheel.size_bytes for wheel in lock.wheels)
    return {
        "accelerator": prepared.accelerator,
        "platform": str(base.platform),
        "python": base.python.version,
        "base": {"name": base.name, "image": base.image, "digest": base.digest},
        "cuda": prepared.cuda.as_json() if prepared.cuda else None,
        "packages": [
            {
                "name": wheel.name,
                "version": wheel.version,
                "size_bytes": wheel.size_bytes,
                "known": wheel.name in known,
            }
            for wheel in sorted(lock.wheels, key=lambda wheel: wheel.name)
        ],
        "layers": {"known": len(plan) - len(fresh), "new": len(fresh)},
        "bytes_to_move": sum(wheel.size_bytes for item in fresh for wheel in item.group.wheels)
        + sum(
            item.known.layer.descriptor.size_bytes
            for item in plan
            if item.known
            and not item.known.repos
            and item.known.layer.descriptor.digest in missing
            and ahead.first(item.known.layer.descriptor.digest)
        ),
        "bytes_to_fetch": _bytes_to_fetch(services, request, prepared, plan),
        "bytes_to_download": sum(wheel.size_bytes for wheel in to_fetch),
        "image_bytes": base.size_bytes + wheels_bytes,
    }


def _bytes_to_fetch(
    services: Services,
    request: BuildRequest,
    prepared: Prepared,
    plan: Sequence[layered.PlannedLayer],
) -> int:
    """What a node that has this image of the latest version lacks, or one that has nothing.

    Layers that are still to be made count as their wheels; Kitbag's own two, of kilobytes, not.
    """
    with reading(services.engine) as session:
        try:
            latest = versions.find(session, request.environment, whole=True)
            platform = str(prepared.base.platform)
            image = versions.image_of(latest, prepared.accelerator, platform)
            there = {str(layer["digest"]) for layer in image.layers}
        except (EnvironmentNotFoundError, VersionNotFoundError, ImageNotFoundError):
            there = set()
    made = [*prepared.base.layers, *(item.known.layer for item in plan if item.known)]
    lacking = {layer.descriptor for layer in made if layer.descriptor.digest not in there}
    fresh = [wheel for item in plan if item.known is None for wheel in item.group.wheels]
    return sum(each.size_bytes for each in lacking) + sum(wheel.size_bytes for wheel in fresh)


def _warnings(prepared: Prepared) -> list[str]:
    lock, needs = prepared.lock, prepared.cuda
    found = [] if any(wheel.name == _SERVER for wheel in lock.wheels) else [_NO_SERVER]
    if needs is not None and needs.version is None:
        found.append(_NO_CUDA)
    unused_bytes = 0 if needs else cuda.weight_bytes(lock)
    if unused_bytes:
        found.append(
            f"{unused_bytes / 1e9:.1f} GB of the packages are NVIDIA's libraries, though the "
            "environment is for CPUs; name an index with CPU builds, or ask for --accelerator cuda."
        )
    return found
