"""The binder way in a worker: who may do it, with what, and what its versions are made of."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder import layered
from builder.binder import python, stock
from builder.binder.dockerfile import Site
from builder.binder.engine import Workshop
from builder.binder.froms import read_dockerfile
from builder.detect import Buildpack, Detected, Kind, read_requirements
from builder.errors import EngineNeededError, InvalidSpecError, NoWheelError
from builder.image import canonical, digest_of
from builder.lock import DEFAULT_SEED, Target, lock
from builder.model import (
    Accelerator,
    Base,
    Compression,
    Image,
    Lock,
    Platform,
    PythonInfo,
    Step,
    Way,
)
from builder.secrets import without_user
from catalog.states import BuildState
from catalog.versions import VersionFacts
from worker import bases
from worker.aside import aside
from worker.deadline import Deadline
from worker.finished import Finished, Prepared
from worker.request import BuildRequest
from worker.services import Services

_STOP_S = 15.0
"""An engine's client gets so long to end what it began, when a build is cancelled."""

_LEFT_MAX = 20
_LOCKS = (Kind.PYLOCK, Kind.UV_LOCK)


class ElsewhereError(Exception):
    """This worker has no container engine, and another one has."""


def admit(services: Services, detected: Detected) -> None:
    """Raise ElsewhereError or EngineNeededError if this worker can't make what was detected."""
    if not detected.needs_engine or services.containers is not None:
        return
    if services.engine_elsewhere():
        raise ElsewhereError
    raise EngineNeededError(
        f"{detected.why.rstrip('.')}, and this server has none; leave it out, or ask the "
        "operator for one."
    )


def admit_sources(services: Services) -> None:
    """Raise ElsewhereError if another worker could build a package that has no wheel."""
    if services.containers is None and services.engine_elsewhere():
        raise ElsewhereError


def locked(
    services: Services, request: BuildRequest, root: Path, detected: Detected, target: Target,
    before: Lock | None, report: Callable[[Step], None], cancelled: Callable[[], bool],
) -> tuple[Lock, tuple[str, ...]]:  # fmt: skip
    """The lock, and the lines that pip has to build in a container since they have no wheel."""
    choices = request.choices()
    left = list(read_requirements(root, detected, choices.extras, choices.groups).left)
    direct = {
        each.name: each.text
        for each in read_requirements(root, detected, choices.extras, choices.groups).asked
    }
    more = () if detected.kind in _LOCKS else services.settings.binder_packages
    leave: set[str] = set()
    while True:
        try:
            made = lock(
                root,
                detected,
                target,
                uv=dataclasses.replace(services.uv(request.environment), cancelled=cancelled),
                previous=None if request.upgrade else before,
                upgrade=request.upgrade,
                seed=(*DEFAULT_SEED, *more),
                choices=choices,
                leave=frozenset(leave),
            )
        except NoWheelError as error:
            name = str(error.extra.get("package", ""))
            if name not in direct or name in leave or len(leave) >= _LEFT_MAX:
                raise
            leave.add(name)
            left.append(direct[name])
            report(Step("log", "resolving", f"{name} has no wheel, so pip builds it."))
        else:
            return made, tuple(left)


def unlocked(base: Base) -> Lock:
    """What stands for the lock of packages that a buildpack of repo2docker's installs."""
    return Lock(base.python.minor, base.platform, (), "")


def base_for(
    services: Services,
    request: BuildRequest,
    root: Path,
    detected: Detected,
    platform: Platform,
    deadline: Deadline,
) -> Base:
    """What repo2docker builds on: the base asked for, else the operator's for this way.

    A repository's own Dockerfile says itself, so that naming a base is refused (InvalidSpecError).
    """
    if detected.buildpack is not Buildpack.DOCKERFILE:
        name = request.base or services.settings.binder_base
        return bases.find(services, name, request.python, platform, lambda _: None, deadline.check)
    if request.base is not None or request.accelerator is not Accelerator.CPU:
        raise InvalidSpecError(
            f"{detected.files[0]} says itself what it builds on, so --base and --accelerator "
            "change nothing; leave them out.",
            file=detected.files[0],
        )
    image = read_dockerfile(root, detected.files[0], platform.arch).base
    return Base("Dockerfile", image, "", platform, (), PythonInfo("", ""), None)


def plan_of(prepared: Prepared) -> python.Plan:
    """What was prepared, as the builder takes it; writes the layer of the repository's files."""
    checkout = prepared.checkout
    source = python.Repository(
        checkout.root, prepared.detected, checkout.url, checkout.commit, checkout.ref
    )
    plan = python.Plan(source, prepared.lock, prepared.base, prepared.base, cuda=prepared.cuda)
    if prepared.detected.kind is Kind.BINDER:
        return plan
    file = checkout.root.parent / "repository.tar.gz"
    return dataclasses.replace(plan, extras=python.extras_of(source, prepared.left, file))


def finished(
    services: Services,
    request: BuildRequest,
    prepared: Prepared,
    advance: Callable[..., None],
    deadline: Deadline,
    report: Callable[[Step], None],
    build_id: str,
    staging: Callable[[str], None],
    started: float,
) -> Finished:
    """The rest of a build by the binder way, while its checkout is there; raises builder.errors."""
    resolved = time.monotonic()
    checkout = prepared.checkout
    advance(BuildState.BUILDING, way=str(Way.BINDER), commit=checkout.commit)
    scratch = checkout.root.parent
    shop = _workshop(services, request, report, deadline, scratch, build_id, staging)
    plan = plan_of(prepared)
    build = _stock if plan.source.detected.kind is Kind.BINDER else _ours
    # The engine's client is given time to end what it began, so that nothing stays behind.
    facts, stats = aside(
        lambda: build(services, request, plan, shop, scratch, advance, report, deadline),
        deadline.check,
        grace_s=_STOP_S,
    )
    seconds = {"resolving": resolved - started, "building": time.monotonic() - resolved}
    rounded = {phase: round(value, 3) for phase, value in seconds.items()}
    return Finished(facts, str(Way.BINDER), {**stats, "seconds": rounded})


def _workshop(
    services: Services,
    request: BuildRequest,
    report: Callable[[Step], None],
    cancelled: Callable[[], bool],
    scratch: Path,
    build_id: str,
    staging: Callable[[str], None],
) -> Workshop | None:
    """The engine of this worker with the operator's limits, None if it has none."""
    engine, settings = services.containers, services.settings
    if engine is None:
        return None
    site = Site(settings.ca_bundle, settings.apt_sources, _pip_conf(services))
    return Workshop(
        id=build_id,
        staging=staging,
        engine=engine,
        store=services.store,
        limits=services.engine_limits,
        cache=settings.engine_cache,
        site=site if engine.mounts else Site(),
        scratch=scratch,
        fresh=request.upgrade,
        report=report,
        cancelled=cancelled,
    )


def _pip_conf(services: Services) -> str:
    """Where pip finds packages in a container; without credentials, which code there could read."""
    settings = services.settings
    lines = []
    if settings.index_url:
        lines.append(f"index-url = {without_user(settings.index_url)}")
    if settings.extra_index_urls:
        urls = (without_user(url) for url in settings.extra_index_urls)
        lines.append("extra-index-url =\n" + "\n".join(f"    {url}" for url in urls))
    return "\n".join(["[global]", *lines]) + "\n" if lines else ""


def _ours(
    services: Services, request: BuildRequest, plan: python.Plan, shop: Workshop | None,
    scratch: Path, advance: Callable[..., None], report: Callable[[Step], None],
    cancelled: Callable[[], bool],
) -> tuple[VersionFacts, dict[str, Any]]:  # fmt: skip
    if plan.source.detected.apt is not None and shop is not None:
        plan = dataclasses.replace(plan, base=python.apt_base(shop, plan.base, plan.source))
    # An engine before 23 can't start from layers of any other form.
    compression = Compression.GZIP if plan.finishes else request.compression
    tools = services.tools(plan.base.python.version, request.environment, compression)
    image, stats = python.build(
        plan,
        request.environment,
        tools,
        shop,
        scratch,
        report=report,
        pushing=lambda: advance(BuildState.PUSHING),
        cancelled=cancelled,
    )
    planned = layered.planned_layers(plan.lock, plan.base, tools, plan.extras)
    names = {
        number: [wheel.name for wheel in item.group.wheels]
        for number, item in enumerate(planned, start=len(plan.base.layers) + 1)
    }
    packages = [
        {"name": item.name, "version": item.version, "size_bytes": item.size_bytes}
        for item in plan.lock.wheels
    ]
    return _facts(request, plan, image, packages, names), dataclasses.asdict(stats)


def _stock(
    services: Services, request: BuildRequest, plan: python.Plan, shop: Workshop | None,
    scratch: Path, advance: Callable[..., None], report: Callable[[Step], None],
    cancelled: Callable[[], bool],
) -> tuple[VersionFacts, dict[str, Any]]:  # fmt: skip
    del cancelled  # the workshop asks
    assert shop is not None
    settings = services.settings
    image = stock.build(
        plan,
        request.environment,
        shop,
        scratch,
        registries=settings.dockerfile_registries,
        mirrors=settings.mirror_pairs,
        report=report,
    )
    advance(BuildState.PUSHING)
    stats = layered.Stats(0, 0, len(image.layers), 0, 0, image.size_bytes)
    return _facts(request, plan, image, [], {}), dataclasses.asdict(stats)


def _facts(
    request: BuildRequest, plan: python.Plan, image: Image,
    packages: list[dict[str, Any]], names: Mapping[int, list[str]],
) -> VersionFacts:  # fmt: skip
    ref = plan.source.ref or ""
    content = {"image": image.digest, "way": "binder"}
    return VersionFacts(
        image=image.reference,
        digest=image.digest,
        content_key=digest_of(canonical(content)).removeprefix("sha256:"),
        python=plan.base.python.minor,
        accelerator=request.accelerator,
        base_name=plan.given.name,
        base_digest=plan.given.digest,
        size_bytes=image.size_bytes,
        platform=str(plan.base.platform),
        lock=plan.lock.text or None,
        packages=packages,
        layers=[
            {
                "digest": layer.descriptor.digest,
                "size_bytes": layer.descriptor.size_bytes,
                "packages": names.get(number, []),
            }
            for number, layer in enumerate(image.layers)
        ],
        commit=plan.source.commit,
        branches=request.branches(ref),
    )
