"""One build from request to image: what a worker does between claim and end."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from builder import several
from builder.detect import Detected, Kind, detect
from builder.errors import NoWheelError
from builder.layers.cache import disk_full
from builder.model import Step, Way
from catalog.states import BuildState
from worker import binder, images
from worker.allowed import NO_LIMITS, Allowed
from worker.aside import aside
from worker.deadline import Deadline
from worker.fetching import fetched
from worker.finished import Finished, Prepared
from worker.request import BuildRequest
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
) -> list[Prepared]:
    """Fetch, detect, choose bases and lock for each image; `folder` is scratch.

    Raises builder.errors. `admit` is asked once it is known which way it goes, and may raise to end
    it there.
    """
    report(Step("phase", "resolving", "fetching the source"))
    checkout = fetched(services, request, folder / "source", deadline, report)
    deadline.check()
    detected = detect(checkout.root, request.source.git.subdir if request.source.git else None)
    report(Step("phase", "resolving", detected.why))
    wanted = images.variants(request, checkout.root, detected)
    images.check_engine(detected, wanted, request.builder_platforms())
    admit(services, detected)
    if detected.kind is Kind.BINDER:
        platform = request.builder_platforms()[0]
        base = binder.base_for(services, request, checkout.root, detected, platform, deadline)
        return [Prepared(checkout, detected, base, binder.unlocked(base), None)]
    return images.prepare(
        services, request, checkout, detected, wanted, folder, report, deadline.check, deadline
    )


def run(
    services: Services,
    request: BuildRequest,
    advance: Callable[..., None],
    cancelled: Callable[[], bool],
    report: Report,
    build_id: str = "build",
    staging: Callable[[str], None] = lambda _: None,
    allowed: Allowed = NO_LIMITS,
) -> Finished:
    """Build and publish within what is allowed.

    `advance` is called with each next BuildState, `way` and `commit`. `build_id` names what a
    container engine makes on the way, and `staging` is told the digest of an image that only this
    build builds on before the store has it. Raises the errors of builder.errors; then nothing was
    published.
    """
    deadline = Deadline(allowed.within_s(services.settings.build_timeout_s), cancelled)
    with deadline.explained(), disk_full(services.settings.cache_root):
        made = _run(services, request, advance, deadline, report, build_id, staging, allowed)
    # The engine has published it by now, and nothing will ever refer to it.
    allowed.check_image(made.facts.size_bytes)
    return made


def _run(
    services: Services,
    request: BuildRequest,
    advance: Callable[..., None],
    deadline: Deadline,
    report: Report,
    build_id: str,
    staging: Callable[[str], None],
    allowed: Allowed,
) -> Finished:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=services.scratch.path, prefix="build-") as folder:
        try:
            prepared = prepare(services, request, Path(folder), deadline, report, binder.admit)
        except NoWheelError:
            binder.admit_sources(services)
            raise
        first = prepared[0]
        if first.detected.way is Way.BINDER:
            return binder.finished(
                services, request, first, advance, deadline, report, build_id, staging, started
            )
    resolved = time.monotonic()
    way, commit = str(first.detected.way), first.checkout.commit
    advance(BuildState.BUILDING, way=way, commit=commit)
    environment = request.environment
    tools = {
        each.base.digest: services.tools(each.base.python.version, environment, request.compression)
        for each in prepared
    }
    if services.settings.bytecode and not all(each.compiler for each in tools.values()):
        report(
            Step(
                "warning",
                "building",
                f"This worker has no Python {first.base.python.minor}, so the image is built "
                "without bytecode: first imports will be slower.",
            )
        )
    # A store that hangs is not waited for: what it holds up stops at its next step.
    made = aside(
        lambda: several.build(
            [images.wanted(each, tools[each.base.digest]) for each in prepared],
            environment,
            report=report,
            cancelled=deadline,
            pushing=lambda: advance(BuildState.PUSHING),
            admit=allowed.check_image,
        ),
        deadline.check,
        grace_s=_STOP_S,
    )
    ended = time.monotonic()
    seconds = {"resolving": resolved - started, "building": ended - resolved}
    return Finished(
        facts=images.facts(prepared, made, tools, request.branches(prepared[0].checkout.ref or "")),
        way=way,
        stats=dict(images.stats(prepared, made))
        | {"seconds": {phase: round(value, 3) for phase, value in seconds.items()}},
    )
