"""The images that a request asks for: which, what each is made of, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from platform import machine
from typing import Any

from builder import cuda, layered
from builder.detect import Detected, Variant, accelerators, declared
from builder.errors import EngineNeededError
from builder.image import canonical, digest_of
from builder.lock import Target, lock, parse
from builder.model import Accelerator, Base, Image, Layer, Lock, Platform, Step, Way
from builder.sdists.sdists import Sdists
from builder.several import Made, Wanted, naming_steps
from builder.source import Checkout
from catalog import versions
from catalog.engine import reading
from catalog.errors import EnvironmentNotFoundError, VersionNotFoundError
from catalog.versions import ImageFacts, VersionFacts
from worker import bases, binder
from worker.finished import Prepared
from worker.patience import patiently
from worker.request import BuildRequest
from worker.sdists import sdists_for
from worker.services import Services

Report = Callable[[Step], None]

_HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine())
"""This machine's architecture as OCI has it."""


def variants(request: BuildRequest, root: Path, detected: Detected) -> list[Variant]:
    """The accelerators of the request, or else of the project, each with what is its own there."""
    # What an engine makes is one image, so there a declaration of several would only refuse it.
    known = declared(root, detected) if detected.way is Way.LAYERED else ()
    asked = request.asked_accelerators()
    if not asked:
        return list(known) or [Variant(Accelerator.CPU)]
    by_name = {variant.accelerator: variant for variant in known}
    return [by_name.get(each, Variant(each)) for each in asked]


def check_engine(
    detected: Detected, wanted: Sequence[Variant], platforms: Sequence[Platform]
) -> None:
    """Raise EngineNeededError for several images where a container engine makes them."""
    if detected.way is Way.BINDER and len(wanted) * len(platforms) > 1:
        raise EngineNeededError(
            f"{detected.why.rstrip('.')}, and an engine makes one image a build; ask for one "
            "accelerator and one platform."
        )


def prepare(
    services: Services,
    request: BuildRequest,
    checkout: Checkout,
    detected: Detected,
    wanted: Sequence[Variant],
    folder: Path,
    report: Report,
    check: Callable[[], None],
    cancelled: Callable[[], bool],
) -> list[Prepared]:
    """Choose the base of each image and lock it; `folder` is scratch. Raises builder.errors."""
    several = len(wanted) * len(request.builder_platforms()) > 1
    found: list[Prepared] = []
    for variant in wanted:
        own = accelerators.of(checkout.root, detected, variant)
        if own is not detected:
            report(Step("phase", "resolving", own.why))
        for platform in request.builder_platforms():
            told = report
            if several:
                told = naming_steps(variant.accelerator, platform, report)
            # All images of a version have one Python, whatever a base would choose by itself.
            python = found[0].base.python.minor if found else None
            base = _base(services, request, own, python, platform, told, check)
            known = _Known(services, request, base.python.minor, variant.accelerator, platform)
            before = patiently(known.lock, check=check)
            target = Target(base.python.version, base.glibc, platform, variant.accelerator)
            minor = base.python.minor
            told(Step("phase", "resolving", f"resolving for Python {minor} on {base.name}"))
            left: tuple[str, ...] = ()
            sources: Sdists | None = None
            if own.way is Way.BINDER:
                made, left = binder.locked(
                    services, request, checkout.root, own, target, before, told, cancelled
                )
            else:
                if platform.arch == _HERE:  # a container of another machine's base can't run
                    built = folder / f"built-{len(found)}"
                    built.mkdir(parents=True)
                    sources = sdists_for(
                        services, base, request.environment, built, told, cancelled
                    )
                made = lock(
                    checkout.root,
                    own,
                    target,
                    uv=dataclasses.replace(
                        services.uv(request.environment), cancelled=cancelled, sdists=sources
                    ),
                    previous=None if request.upgrade else before,
                    upgrade=request.upgrade,
                    choices=request.choices(variant),
                )
            check()
            needs = cuda.of(made, variant.accelerator)
            found.append(
                Prepared(
                    checkout, own, base, made, before, needs, left, sources, variant.accelerator
                )
            )
    return found


def _base(
    services: Services,
    request: BuildRequest,
    detected: Detected,
    first: str | None,
    platform: Platform,
    report: Report,
    check: Callable[[], None],
) -> Base:
    name = request.base or bases.AUTO
    python = request.python or detected.python or first
    if python is None and name == bases.AUTO:
        python = bases.python_for(detected.requires_python)
    return bases.find(services, name, python, platform, report, check)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the environment's latest version holds for an image."""

    services: Services
    request: BuildRequest
    python: str
    accelerator: str
    platform: Platform

    def lock(self) -> Lock | None:
        """Its lock, or that for another accelerator on the platform; None if there is none."""
        with reading(self.services.engine) as session:
            try:
                latest = versions.find(session, self.request.environment)
            except (EnvironmentNotFoundError, VersionNotFoundError):
                return None
            fitting = [image for image in latest.images if image.platform == str(self.platform)]
            fitting.sort(key=lambda image: image.accelerator != self.accelerator)
            text = versions.lock_text(session, fitting[0]) if fitting else None
        if text is None or latest.python != self.python:
            return None
        return parse(text, self.python, self.platform)


def wanted(prepared: Prepared, tools: layered.Tools) -> Wanted:
    """What the builder makes of it."""
    if prepared.sdists is not None:
        built = tools.downloader.building(prepared.sdists.wheel)
        tools = dataclasses.replace(tools, downloader=built)
    return Wanted(prepared.accelerator, prepared.lock, prepared.base, tools, prepared.cuda)


def facts(
    prepared: Sequence[Prepared],
    made: Sequence[Made],
    tools: Mapping[str, layered.Tools],
    branches: Sequence[str],
) -> VersionFacts:
    """What the catalog keeps of a version; `tools` are those for each base, by its digest."""
    first = prepared[0]
    contents = [_content(each, tools[each.base.digest]) for each in prepared]
    content = contents[0] if len(contents) == 1 else {"images": contents}
    images = [
        _image(each, done, tools[each.base.digest])
        for each, done in zip(prepared, made, strict=True)
    ]
    default = images[0]
    digest = default.index_digest or default.digest
    return VersionFacts(
        image=f"{default.image.rpartition('@')[0]}@{digest}",
        digest=digest,
        content_key=digest_of(canonical(content)).removeprefix("sha256:"),
        python=first.base.python.minor,
        accelerator=default.accelerator,
        base_name=default.base_name,
        base_digest=default.base_digest,
        size_bytes=default.size_bytes,
        platform=default.platform,
        lock=default.lock,
        packages=default.packages,
        layers=default.layers,
        commit=first.checkout.commit,
        branches=branches,
        images=images,
    )


def _content(prepared: Prepared, tools: layered.Tools) -> dict[str, Any]:
    return {
        "lock": digest_of(prepared.lock.text.encode()),
        "base": prepared.base.digest,
        "accelerator": prepared.accelerator,
        "recipe": dataclasses.asdict(layered.recipe(prepared.base, tools)),
    }


def _image(prepared: Prepared, made: Made, tools: layered.Tools) -> ImageFacts:
    base, image = prepared.base, made.image
    return ImageFacts(
        image=image.reference,
        digest=image.digest,
        accelerator=prepared.accelerator,
        platform=str(base.platform),
        base_name=base.name,
        base_digest=base.digest,
        size_bytes=image.size_bytes,
        index_digest=made.index_digest,
        lock=prepared.lock.text,
        packages=[
            {"name": item.name, "version": item.version, "size_bytes": item.size_bytes}
            for item in prepared.lock.wheels
        ],
        layers=_layers(prepared, image, tools),
    )


def _layers(prepared: Prepared, image: Image, tools: layered.Tools) -> list[dict[str, Any]]:
    """The image's layers in manifest order, each with the packages in it."""
    planned = layered.planned_layers(prepared.lock, prepared.base, tools)
    base = len(prepared.base.layers)
    packages: list[list[str]] = [[] for _ in image.layers]
    for number, item in enumerate(planned, start=base + 1):
        packages[number] = [wheel.name for wheel in item.group.wheels]

    def described(layer: Layer, names: list[str]) -> dict[str, Any]:
        descriptor = layer.descriptor
        return {
            "digest": descriptor.digest,
            "size_bytes": descriptor.size_bytes,
            "packages": names,
        }

    return [described(layer, names) for layer, names in zip(image.layers, packages, strict=True)]


def stats(prepared: Sequence[Prepared], made: Sequence[Made]) -> Mapping[str, Any]:
    """What the build took, all its images together, and of several what each did."""
    each = [
        {"accelerator": item.accelerator, "platform": str(item.base.platform)}
        | dataclasses.asdict(done.stats)
        for item, done in zip(prepared, made, strict=True)
    ]
    if len(made) == 1:
        return dataclasses.asdict(made[0].stats)
    packages = {(wheel.name, wheel.version) for item in prepared for wheel in item.lock.wheels}
    blobs = {layer.descriptor for done in made for layer in done.image.layers}
    return {
        "packages": len(packages),
        **{
            name: sum(getattr(done.stats, name) for done in made)
            for name in ("layers_known", "layers_new", "bytes_moved", "bytes_downloaded")
        },
        "image_bytes": sum(blob.size_bytes for blob in blobs),
        "images": each,
    }
