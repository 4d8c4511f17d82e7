"""One build from request to image: what a worker does between claim and end."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder import cuda, layered
from builder.detect import Detected, Kind, detect
from builder.image import canonical, digest_of
from builder.layers.cache import disk_full
from builder.lock import Target, lock, parse
from builder.model import Image, Layer, Lock, Platform, Step, Way
from builder.sdists.sdists import Sdists
from catalog import versions
from catalog.engine import reading
from catalog.errors import EnvironmentNotFoundError, VersionNotFoundError
from catalog.states import BuildState
from catalog.versions import VersionFacts
from worker import bases, binder
from worker.aside import aside
from worker.deadline import Deadline
from worker.fetching import fetched
from worker.finished import Finished, Prepared
from worker.patience import patiently
from worker.request import BuildRequest
from worker.sdists import sdists_for
from worker.services import Services

Report = Callable[[Step], None]

_STOP_S = 2.0


def prepare(
    services: Services,
    request: BuildRequest,
    folder: Path,
    deadline: Deadline,
    report: Report,
    admit: Callable[[Services, Detected], None] = lambda _services, _detected: None,
) -> Prepared:
    """Fetch, detect, choose the base and lock; `folder` is scratch. Raises builder.errors.

    `admit` is asked once it is known which way it goes, and may raise to end it there.
    """
    report(Step("phase", "resolving", "fetching the source"))
    checkout = fetched(services, request, folder / "source", deadline, report)
    for warning in checkout.warnings:
        report(Step("warning", "resolving", warning))
    deadline.check()
    detected = detect(checkout.root, request.source.git.subdir if request.source.git else None)
    report(Step("phase", "resolving", detected.why))
    admit(services, detected)
    platform = request.builder_platform()
    if detected.kind is Kind.BINDER:
        base = binder.base_for(services, request, checkout.root, detected, platform, deadline)
        return Prepared(checkout, detected, base, binder.unlocked(base), None)
    name = request.base or bases.AUTO
    python = request.python or detected.python
    if python is None and name == bases.AUTO:
        python = bases.python_for(detected.requires_python)
    base = bases.find(services, name, python, platform, report, deadline.check)
    before = patiently(
        lambda: _latest_lock(services, request, base.python.minor, platform),
        check=deadline.check,
    )
    target = Target(base.python.version, base.glibc, platform, request.accelerator)
    report(Step("phase", "resolving", f"resolving for Python {base.python.minor} on {base.name}"))
    left: tuple[str, ...] = ()
    sources: Sdists | None = None
    if detected.way is Way.BINDER:
        made, left = binder.locked(
            services, request, checkout.root, detected, target, before, report, deadline
        )
    else:
        built = folder / "built"
        built.mkdir()
        sources = sdists_for(services, base, request.environment, built, report, deadline)
        made = lock(
            checkout.root,
            detected,
            target,
            uv=dataclasses.replace(
                services.uv(request.environment), cancelled=deadline, sdists=sources
            ),
            previous=None if request.upgrade else before,
            upgrade=request.upgrade,
            choices=request.choices(),
        )
    deadline.check()
    needs = cuda.of(made, request.accelerator)
    return Prepared(checkout, detected, base, made, before, needs, left, sources)


def _latest_lock(
    services: Services, request: BuildRequest, python: str, platform: Platform
) -> Lock | None:
    with reading(services.engine) as session:
        try:
            latest = versions.find(session, request.environment)
        except (EnvironmentNotFoundError, VersionNotFoundError):
            return None
        text = versions.lock_text(session, latest)
    if text is None or latest.python != python or latest.platform != str(platform):
        return None
    return parse(text, python, platform)


def run(
    services: Services,
    request: BuildRequest,
    advance: Callable[..., None],
    cancelled: Callable[[], bool],
    report: Report,
    build_id: str = "build",
) -> Finished:
    """Build and publish; `advance` is called with each next BuildState, `way` and `commit`.

    `build_id` names what a container engine makes on the way. Raises the errors of builder.errors;
    then nothing was published.
    """
    deadline = Deadline(services.settings.build_timeout_s, cancelled)
    with deadline.explained(), disk_full(services.settings.cache_root):
        return _run(services, request, advance, deadline, report, build_id)


def _run(
    services: Services,
    request: BuildRequest,
    advance: Callable[..., None],
    deadline: Deadline,
    report: Report,
    build_id: str,
) -> Finished:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=services.scratch.path, prefix="build-") as folder:
        prepared = prepare(services, request, Path(folder), deadline, report, binder.admit)
        if prepared.detected.way is Way.BINDER:
            return binder.finished(
                services, request, prepared, advance, deadline, report, build_id, started
            )
    resolved = time.monotonic()
    way, commit = str(prepared.detected.way), prepared.checkout.commit
    advance(BuildState.BUILDING, way=way, commit=commit)
    version, environment = prepared.base.python.version, request.environment
    tools = services.tools(version, environment, request.compression)
    if prepared.sdists is not None:
        built = tools.downloader.building(prepared.sdists.wheel)
        tools = dataclasses.replace(tools, downloader=built)
    if tools.compiler is None and services.settings.bytecode:
        report(
            Step(
                "warning",
                "building",
                f"This worker has no Python {prepared.base.python.minor}, so the image is built "
                "without bytecode: first imports will be slower.",
            )
        )
    # A store that hangs is not waited for: what it holds up stops at its next step.
    image, stats = aside(
        lambda: layered.build(
            prepared.lock,
            prepared.base,
            request.environment,
            tools,
            cuda=prepared.cuda,
            report=report,
            cancelled=deadline,
            pushing=lambda: advance(BuildState.PUSHING),
        ),
        deadline.check,
        grace_s=_STOP_S,
    )
    ended = time.monotonic()
    seconds = {"resolving": resolved - started, "building": ended - resolved}
    return Finished(
        facts=_facts(request, prepared, image, tools),
        way=way,
        stats=dataclasses.asdict(stats)
        | {"seconds": {phase: round(value, 3) for phase, value in seconds.items()}},
    )


def _facts(
    request: BuildRequest, prepared: Prepared, image: Image, tools: layered.Tools
) -> VersionFacts:
    base, made = prepared.base, prepared.lock
    content = {
        "lock": digest_of(made.text.encode()),
        "base": base.digest,
        "accelerator": request.accelerator,
        "recipe": dataclasses.asdict(layered.recipe(base, tools)),
    }
    ref = prepared.checkout.ref or ""
    return VersionFacts(
        image=image.reference,
        digest=image.digest,
        content_key=digest_of(canonical(content)).removeprefix("sha256:"),
        python=base.python.minor,
        accelerator=request.accelerator,
        base_name=base.name,
        base_digest=base.digest,
        size_bytes=image.size_bytes,
        platform=str(base.platform),
        lock=made.text,
        packages=[
            {"name": item.name, "version": item.version, "size_bytes": item.size_bytes}
            for item in made.wheels
        ],
        layers=_layers(prepared, image, tools),
        commit=prepared.checkout.commit,
        branches=[ref.removeprefix("refs/heads/")] if ref.startswith("refs/heads/") else [],
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
