"""Kubeflow Pipelines: images of environments in components, and pipelines that are compiled pinned.

    from kitbag.kfp import compile, image

    @dsl.component(base_image=image("hep/3dgan"), install_kfp_package=False)

kfp itself is imported only by `compile`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitbag.errors import KitbagError
from kitbag.refs import EnvRef
from kitbag.specs import Images, Pinned, PullPolicy, SpecError, Target, images, pin

if TYPE_CHECKING:
    from kitbag.client import Client
    from kitbag.versions import Resolved

OFFLINE = "KITBAG_OFFLINE"

# What pods of a step are annotated with: the version that the image is of, and the label of the
# same name that the image itself has, the digest of its pylock.toml.
VERSION_ANNOTATION = "kitbag.dev/version"
LOCK_ANNOTATION = "kitbag.dev/lock"


class Environments:
    """A server's environments as one process sees them: each is asked for once.

    `client` is made at the first question where none is given.
    """

    def __init__(self, client: Client | None = None) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._resolved: dict[str, Resolved] = {}
        self._chosen: dict[str, str] = {}
        self._locks: dict[tuple[str, str | None], str] = {}

    def image(self, name: str, accelerator: str | None = None) -> str:
        """The image of NS/NAME[:VERSION], of several that for the accelerator or the default."""
        found = self._resolve(name)
        if accelerator is None:
            whole: str = Images(found.images) if len(found.images) > 1 else found.image
            self._chosen.setdefault(found.image, whole)
            return found.image
        if accelerator not in found.images:
            there = ", ".join(found.images) or "one image alone, for what it doesn't say"
            raise KitbagError(
                f"{found.environment}:{found.version} has no image for {accelerator}, only"
                f" {there}: build it with --accelerator"
            )
        # Who names an accelerator keeps that image, whatever the step's resources say.
        self._chosen[found.images[accelerator]] = found.images[accelerator]
        return found.images[accelerator]

    def __call__(self, name: str) -> str:
        """What a `kitbag://` reference stands for, as a pin's resolver."""
        found = self._resolve(name)
        return Images(found.images) if len(found.images) > 1 else found.image

    @property
    def chosen(self) -> Mapping[str, str]:
        """The images that were given out, each with what may stand in its place."""
        return dict(self._chosen)

    def annotations(self, images: Sequence[str]) -> dict[str, dict[str, str]]:
        """By image: which version it is of, and the digest of its lock; images of others lack."""
        origins = {
            image: (found, accelerator)
            for found in self._resolved.values()
            for accelerator, image in (*found.images.items(), (None, found.image))
        }
        said = {}
        for image in images:
            if image in origins:
                found, accelerator = origins[image]
                version = f"{found.environment}:{found.version}"
                lock = self._lock_digest(version, accelerator if len(found.images) > 1 else None)
                said[image] = {VERSION_ANNOTATION: version, LOCK_ANNOTATION: lock}
        return said

    def _resolve(self, name: str) -> Resolved:
        ref = _ref(name)
        with self._lock:
            if str(ref) not in self._resolved:
                self._resolved[str(ref)] = self._server().resolve(str(ref))
            return self._resolved[str(ref)]

    def _lock_digest(self, version: str, accelerator: str | None) -> str:
        if (version, accelerator) not in self._locks:
            lock = self._server().version(version, accelerator=accelerator).lock
            digest = f"sha256:{hashlib.sha256(lock.encode()).hexdigest()}"
            self._locks[version, accelerator] = digest
        return self._locks[version, accelerator]

    def _server(self) -> Client:
        if self._client is None:
            from kitbag.client import Client

            self._client = Client()
        return self._client


_process = Environments()


def image(name: str, *, accelerator: str | None = None) -> str:
    """The image that NS/NAME[:VERSION] stands for at this moment, for a component's `base_image`.

    Each environment is asked for once in a process, from the server that `kitbag` would ask. Of
    several images it is that for the `accelerator`, else the default, which `compile` replaces by
    the one that the step's resources ask for. With KITBAG_OFFLINE=1 it is `kitbag://NS/NAME`, for
    `kitbag pin` to resolve later. Raises KitbagError: no server, no such environment or image.
    """
    if offline():
        return _ref(name).uri
    return _process.image(name, accelerator)


def compile(  # noqa: A001 - as kfp's own
    pipeline: Any,  # noqa: ANN401 - a kfp component
    path: str | Path,
    *,
    env: str | None = None,
    pull_secrets: Sequence[str] = (),
    pull_policy: str | PullPolicy | None = None,
    trace: bool = True,
    **options: Any,  # noqa: ANN401 - those of kfp's compiler
) -> Pinned:
    """Compile a pipeline to `path`, .yaml or .json, with all of Kitbag's images pinned.

    `env` NS/NAME[:VERSION] is for the steps of other images too. What pulls the images gets
    `pull_secrets` and `pull_policy`, and with `trace` the pods of each step say which version they
    run and what its lock's digest is. Both are in KFP's platform document. `options` go to kfp's
    compiler. The file is written whole or not at all; what comes back says what was changed. Raises
    KitbagError, and whatever kfp raises for the pipeline.
    """
    place = Path(path)
    data = _compiled(pipeline, place, options)
    policy = PullPolicy(pull_policy) if pull_policy is not None else None
    pulls = Target(pull_secrets=tuple(pull_secrets), pull_policy=policy)
    try:
        done = _pinned(data, env, pulls, trace, str(path))
    except SpecError as error:
        raise KitbagError(str(error)) from error
    from kitbag.manifests import write

    write(place, done.data, like=place if place.exists() else None)
    return done


def offline() -> bool:
    """Whether the process was told to ask no server."""
    return os.environ.get(OFFLINE, "").lower() in ("1", "true", "yes")


def _pinned(data: bytes, env: str | None, pulls: Target, trace: bool, name: str) -> Pinned:
    if offline():
        return Pinned(data, notes=(f"{OFFLINE} is set: pin {name} before it is run",))
    target = replace(pulls, resolve=_process, known=_process.chosen)
    if env is not None:
        target = replace(target, image=_process(str(_ref(env))), env=_ref(env))
    first = pin(data, target, filename=name)
    if not trace:
        return first
    # Only once it is pinned does the file say which images it has.
    used = [found.image for found in images(first.data, filename=name) if found.image]
    said = _process.annotations(used)
    if not said:
        return first
    target = Target(known={one: one for one in said}, annotations=said)
    second = pin(first.data, target, filename=name)
    return Pinned(
        second.data,
        (*first.changes, *second.changes),
        first.skipped,
        (*first.notes, *second.notes),
    )


def _compiled(pipeline: Any, place: Path, options: Mapping[str, Any]) -> bytes:  # noqa: ANN401
    try:
        from kfp import compiler
    except ImportError as error:
        raise KitbagError(
            "kfp is not installed in this Python: `pip install kfp` brings the compiler"
        ) from error
    with tempfile.TemporaryDirectory() as folder:
        # kfp looks at the suffix.
        made = Path(folder) / place.name
        compiler.Compiler().compile(pipeline, str(made), **options)
        return made.read_bytes()


def _ref(name: str) -> EnvRef:
    try:
        return EnvRef.parse(name)
    except ValueError as error:
        raise KitbagError(str(error)) from error
