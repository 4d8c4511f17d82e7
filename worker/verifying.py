"""Builds a version again from its lock, in a folder of its own, and says whether it is the same."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder import several, stored, verify
from builder.errors import NotVerifiableError
from builder.layers import zst
from builder.layers.cache import disk_full
from builder.lock import parse
from builder.model import Base, Platform, Step, Way
from catalog import bases, versions
from catalog.engine import reading
from catalog.models import Version, VersionImage
from worker.deadline import Deadline
from worker.patience import patiently
from worker.sdists import sdists_for
from worker.services import Services

Tell = Callable[[Mapping[str, Any]], None]


def run(kit: Services, name: str, tell: Tell) -> dict[str, Any]:
    """The verdict for NS/NAME[:VERSION] as JSON; raises builder.errors and catalog.errors.

    `images` has one for each image; the members beside it are those of the first that differs, or
    of the first.
    """
    version, known = patiently(lambda: _known(kit, name))
    environment = version.environment.full_name
    verdicts = [_image(kit, version, *each, tell) for each in known]
    shown = next((each for each in verdicts if not each["equal"]), verdicts[0])
    return {
        "environment": environment,
        "version": version.number,
        **{key: shown[key] for key in ("compiler", "stored", "rebuilt", "layers")},
        "equal": all(each["equal"] for each in verdicts) and _indexes_equal(kit, version),
        "lost": list(dict.fromkeys(digest for each in verdicts for digest in each["lost"])),
        "images": verdicts,
    }


def _indexes_equal(kit: Services, version: Version) -> bool:
    """Whether each index follows from the images that it is of."""
    for accelerator in {image.accelerator for image in version.images}:
        images = [image for image in version.images if image.accelerator == accelerator]
        digests = {platform_of(image.platform): image.digest for image in images}
        index = several.index_of(digests, version.environment.full_name, kit.store)
        if (index.digest if index else None) != images[0].index_digest:
            return False
    return True


def platform_of(name: str) -> Platform:
    """The platform of OS/ARCHITECTURE."""
    system, _, arch = name.partition("/")
    return Platform(system, arch)


def _image(
    kit: Services, version: Version, image: VersionImage, text: str, base: Base, tell: Tell
) -> dict[str, Any]:
    environment = version.environment.full_name
    lock = parse(text, version.python, platform_of(image.platform))
    there = stored.read(kit.store, environment, image.digest)
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

    if len(version.images) > 1:
        named = several.naming_steps(image.accelerator, lock.platform, report)
    else:
        named = report
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
            there, lock, base, environment, tools, scratch, report=named, cancelled=stop
        )
    return {
        "accelerator": image.accelerator,
        "platform": image.platform,
        "compiler": there.compiler,
        **dataclasses.asdict(verdict),
    }


def _known(kit: Services, name: str) -> tuple[Version, list[tuple[VersionImage, str, Base]]]:
    """The version, and each of its images with its lock and its base."""
    found: list[tuple[VersionImage, str, Base]] = []
    with reading(kit.engine) as session:
        version = versions.resolve(session, name)
        for image in version.images:
            text = versions.lock_text(session, image)
            row = bases.with_digest(session, image.base_digest)
            if text is None:
                raise NotVerifiableError(
                    f"{name} was built without a lock; only layered images can be verified."
                )
            if row is None:
                raise NotVerifiableError(
                    f"The base {image.base_digest} of {name} is not known any more; add it again."
                )
            found.append((image, text, Base.from_json(row.record)))
    return version, found
