"""One build from request to image: what a worker does between claim and end."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import cuda, layered
from builder.detect import Detected, detect
from builder.errors import CancelledError, EngineNeededError, TimedOutError
from builder.image import canonical, digest_of
from builder.layers.cache import disk_full
from builder.lock import Target, lock, parse
from builder.model import Base, Image, Layer, Lock, Platform, Step, Way
from builder.source import Checkout, fetch
from catalog import versions
from catalog.engine import reading
from catalog.errors import EnvironmentNotFoundError, VersionNotFoundError
from catalog.states import BuildState
from catalog.versions import VersionFacts
from worker import bases
from worker.aside import aside
from worker.patience import patiently
from worker.request import BuildRequest
from worker.services import Services

Report = Callable[[Step], None]

_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request resolved: everything that decides the image."""

    checkout: Checkout
    detected: Detected
    base: Base
    lock: Lock
    before: Lock | None
    """The lock of the environment's latest version, or None for a new environment."""
    cuda: cuda.Cuda | None = None
    """What it needs of NVIDIA's GPUs, if it was asked to run on them."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a build came to."""

    facts: VersionFacts
    way: str
    stats: Mapping[str, Any]


class Deadline:
    """Says when a build must stop: somebody cancelled it, or its time is over."""

    def __init__(self, timeout_s: float, cancelled: Callable[[], bool]) -> None:
        self._end = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._cancelled = cancelled

    def __call__(self) -> bool:
        return self._cancelled() or time.monotonic() > self._end

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Tells whoever stopped because this said so apart: those cancelled, those too late."""
        try:
            yield
        except CancelledError:
            self.check()
            raise

    def check(self) -> None:
        """Raise CancelledError or TimedOutError if the build must stop."""
        if self._cancelled():
            raise CancelledError("The build was cancelled.")
        if time.monotonic() > self._end:
            raise TimedOutError(
                f"The build took longer than its limit of {self._timeout_s:g} s; "
                "ask for fewer packages at once, or the operator for a higher limit."
            )


def prepare(
    services: Services, request: BuildRequest, folder: Path, deadline: Deadline, report: Report
) -> Prepared:
    """Fetch, detect, choose the base and lock; `folder` is scratch. Raises builder.errors."""
    uploads = services.settings.data / "uploads"
    source = request.builder_source(uploads)
    report(Step("phase", "resolving", "fetching the source"))
    policy = dataclasses.replace(services.sources(), cancelled=deadline)
    checkout = fetch(source, folder / "source", policy=policy, report=report)
    for warning in checkout.warnings:
        report(Step("warning", "resolving", warning))
    deadline.check()
    detected = detect(checkout.root, request.source.git.subdir if request.source.git else None)
    report(Step("phase", "resolving", detected.why))
    if detected.way is not Way.LAYERED:
        raise EngineNeededError(
            f"{detected.why.rstrip('.')}, and this server has none; leave it out, or ask the "
            "operator for one."
        )
    platform = request.builder_platform()
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
    made = lock(
        checkout.root,
        detected,
        target,
        uv=dataclasses.replace(services.uv(request.environment), cancelled=deadline),
        previous=None if request.upgrade else before,
        upgrade=request.upgrade,
        choices=request.choices(),
    )
    deadline.check()
    needs = cuda.of(made, request.accelerator)
    return Prepared(checkout, detected, base, made, before, needs)


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
) -> Finished:
    """Build and publish; `advance` is called with each next BuildState, `way` and `commit`.

    Raises the errors of builder.errors; then nothing was published.
    """
    deadline = Deadline(services.settings.build_timeout_s, cancelled)
    with deadline.explained(), disk_full(services.settings.cache_root):
        return _run(services, request, advance, deadline, report)


def _run(
    services: Services,
    request: BuildRequest,
    advance: Callable[..., None],
    deadline: Deadline,
    report: Report,
) -> Finished:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=services.scratch.path, prefix="build-") as folder:
        prepared = prepare(services, request, Path(folder), deadline, report)
    resolved = time.monotonic()
    way, commit = str(prepared.detected.way), prepared.checkout.commit
    advance(BuildState.BUILDING, way=way, commit=commit)
    version, environment = prepared.base.python.version, request.environment
    tools = services.tools(version, environment, request.compression)
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
