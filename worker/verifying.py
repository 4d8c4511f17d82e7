"""Builds a version again from its lock, in a folder of its own, and says whether it is the same."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder import stored, verify
from builder.errors import NotVerifiableError
from builder.layers import zst
from builder.layers.cache import disk_full
from builder.lock import parse
from builder.model import Base, Platform, Step, Way
from catalog import bases, versions
from catalog.engine import reading
from catalog.models import Version
from worker.deadline import Deadline
from worker.patience import patiently
from worker.sdists import sdists_for
from worker.services import Services

Tell = Callable[[Mapping[str, Any]], None]


def run(kit: Services, name: str, tell: Tell) -> dict[str, Any]:
    """The verdict for NS/NAME[:VERSION] as JSON; raises builder.errors and catalog.errors."""
    version, text, base = patiently(lambda: _known(kit, name))
    environment = version.environment.full_name
    system, _, arch = version.platform.partition("/")
    lock = parse(text, version.python, Platform(system, arch))
    there = stored.read(kit.store, environment, version.digest)
    if there.labels.get("kitbag.dev/way") == Way.BINDER:
        raise NotVerifiableError(
            f"{environment}:{version.number} holds what a container engine or a repository's own "
            "files put there; only layered images can be verified."
        )
    if there.packer not in (None, zst.PACKER):
        raise NotVerifiableError(
            f"{environment}:{version.number} was packed by {there.packer}, and this worker has "
            f"{zst.PACKER}; build the environment again."
        )
    tools = kit.tools(there.compiler or base.python.version, environment)
    if there.compiler is None:
        tools = dataclasses.replace(tools, compiler=None)
    elif tools.compiler is None or tools.compiler.interpreter.version != there.compiler:
        raise NotVerifiableError(
            f"{environment}:{version.number} was compiled by CPython {there.compiler}, which this "
            "worker doesn't have; install it there, or build the environment again."
        )
    deadline = Deadline(kit.settings.build_timeout_s, lambda: False)

    def stop() -> bool:
        tell({})
        return deadline()

    def report(step: Step) -> None:
        tell({"message": step.message, **step.data})

    with (
        deadline.explained(),
        disk_full(kit.settings.cache_root),
        tempfile.TemporaryDirectory(dir=kit.scratch.path, prefix="verify-") as folder,
    ):
        scratch = Path(folder)
        (scratch / "built").mkdir()
        sources = sdists_for(kit, base, environment, scratch / "built", report, stop)
        if sources is not None:
            built = tools.downloader.building(sources.wheel)
            tools = dataclasses.replace(tools, downloader=built)
        verdict = verify.verify(
            there, lock, base, environment, tools, scratch, report=report, cancelled=stop
        )
    return {
        "environment": environment,
        "version": version.number,
        "compiler": there.compiler,
        **dataclasses.asdict(verdict),
    }


def _known(kit: Services, name: str) -> tuple[Version, str, Base]:
    with reading(kit.engine) as session:
        version = versions.resolve(session, name)
        text = versions.lock_text(session, version)
        row = bases.with_digest(session, version.base_digest)
        if text is None:
            raise NotVerifiableError(
                f"{name} was built without a lock; only layered images can be verified."
            )
        if row is None:
            raise NotVerifiableError(
                f"The base {version.base_digest} of {name} is not known any more; add it again."
            )
        return version, text, Base.from_json(row.record)
