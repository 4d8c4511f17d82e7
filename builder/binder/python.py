"""Our own buildpack: Python packages with apt.txt, postBuild and start, without conda."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from builder import image, layered
from builder.bases.derived import derived
from builder.bases.manifest import pin
from builder.binder import apt, dockerfile, repository
from builder.binder.engine import Order, Workshop, known, made
from builder.cuda import Cuda
from builder.detect import Detected
from builder.engines.protocol import STAGES
from builder.layered import NO_EXTRAS, Addition, Extras, Stats, Tools, Work
from builder.model import LAYER_TYPE, Base, Descriptor, Image, Layer, Lock, Step
from builder.skeleton import HOME, PREFIX, USER

APT_REPO = "kitbag/apt"
_FINISHED_LAYERS = 2
"""What `pip install` and postBuild add."""


@dataclass(frozen=True, slots=True)
class Repository:
    """The source on disk: the checkout, what was detected in it, where it is from."""

    root: Path
    detected: Detected
    url: str | None = None
    commit: str | None = None
    ref: str | None = None

    @property
    def top(self) -> Path:
        """The folder whose files go into the image."""
        return self.root / self.detected.subdir

    def inside(self, name: str) -> str:
        """A name of the checkout as a name below `top`."""
        below = f"{self.detected.subdir}/" if self.detected.subdir else ""
        return name.removeprefix(below)


def apt_base(shop: Workshop, base: Base, source: Repository) -> Base:
    """The base with the packages of apt.txt, made once for each base and list.

    Raises InvalidSpecError for an apt.txt that names anything but packages.
    """
    assert source.detected.apt is not None
    packages = apt.read_apt(source.root, source.detected.apt)
    if not packages:
        return base
    shop.report(Step("phase", "building", f"system packages: {', '.join(packages)}"))
    key = (base.digest, *packages)
    text = dockerfile.apt(packages, shop.site)
    order = Order(text, base, APT_REPO, base.platform, key, secrets=shop.site.apt_files())
    digest = known(shop, order)
    if digest is not None:
        shop.report(Step("log", "building", "These were installed on this base before."))
    return derived(shop.store, APT_REPO, digest or made(shop, order), base)


def extras_of(source: Repository, left: tuple[str, ...], file: Path) -> Extras:
    """The repository's layer, written to `file`, and what the image says of it."""
    detected = source.detected
    runs = frozenset(
        source.inside(name) for name in (detected.post_build, detected.start) if name is not None
    )
    with file.open("wb") as out:
        written = repository.write(out, source.top, runs, left)
    layer = Layer(Descriptor(LAYER_TYPE, written.digest, written.size_bytes), written.diff_id)
    addition = Addition("the repository's files", layer, lambda: file.open("rb"))
    finishes = bool(detected.install or detected.post_build)
    return Extras((addition,), settings_of(source), _FINISHED_LAYERS if finishes else 0)


def settings_of(source: Repository) -> image.Settings:
    """The variables and labels that Binder's repositories rely on."""
    start = source.detected.start
    env = {
        "APP_BASE": "/srv",
        "KERNEL_PYTHON_PREFIX": PREFIX,
        "LC_ALL": "C.UTF-8",
        "NB_PYTHON_PREFIX": PREFIX,
        "PYTHONUNBUFFERED": "1",
        "REPO_DIR": repository.REPO_DIR,
        "USER": USER,
    }
    if start is not None:
        env["R2D_ENTRYPOINT"] = f"{repository.REPO_DIR}/{source.inside(start)}"
    return image.Settings(
        env=env,
        labels=labels_of(source.url, source.commit),
        path=(f"{HOME}/.local/bin", f"{repository.REPO_DIR}/.local/bin"),
        entrypoint=repository.START,
        working_dir=repository.REPO_DIR,
    )


def labels_of(url: str | None, commit: str | None) -> dict[str, str]:
    """repo2docker's labels, and which way the image was made."""
    return {
        "kitbag.dev/way": "binder",
        "repo2docker.ref": commit or "None",
        "repo2docker.repo": url or "local",
        "repo2docker.version": "kitbag",
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the image.

    `base` is built on, once it has the packages of apt.txt; `given` is what was asked for.
    """

    source: Repository
    lock: Lock
    base: Base
    given: Base
    extras: Extras = NO_EXTRAS
    cuda: Cuda | None = None

    @property
    def finishes(self) -> bool:
        """Whether code of the repository runs once its files are there."""
        return bool(self.source.detected.install or self.source.detected.post_build)


def build(
    plan: Plan,
    repo: str,
    tools: Tools,
    shop: Workshop | None,
    scratch: Path,
    *,
    report: Callable[[Step], None],
    pushing: Callable[[], None],
    cancelled: Callable[[], bool],
) -> tuple[Image, Stats]:
    """The image in `repo`: the packages, the repository's files, then what its code does.

    Without such code no engine is asked and `shop` may be None. Raises the errors of
    builder.errors, and those of the engine.
    """
    if not plan.finishes:
        return layered.build(
            plan.lock,
            plan.base,
            repo,
            tools,
            cuda=plan.cuda,
            extras=plan.extras,
            report=report,
            pushing=pushing,
            cancelled=cancelled,
        )
    assert shop is not None
    detected = plan.source.detected
    post_build = plan.source.inside(detected.post_build) if detected.post_build else None
    extras = replace(plan.extras, stage_of=shop.id)
    stage = f"{STAGES}{repo}"
    work = Work(plan.lock, plan.base, stage, tools, plan.cuda, extras, report, cancelled)
    ready = work.make()
    text = dockerfile.finish(
        shop.site, install=detected.install, post_build=post_build, processes=shop.limits.processes
    )
    order = Order(
        dockerfile=text,
        base=None,
        repo=repo,
        platform=plan.base.platform,
        key=(ready.made.config_descriptor.digest,),
        secrets=shop.site.user_files(scratch),
        keep_base=False,
    )
    digest, stats = known(shop, order), work.stats(ready)
    if digest is not None:
        report(Step("log", "building", "This was built before from the same files and packages."))
    else:
        shop.staging(ready.made.manifest.digest)
        work.check()
        staged, stats = work.publish(ready)
        if staged.digest != ready.made.manifest.digest:
            shop.staging(staged.digest)
        if detected.install:
            report(Step("phase", "building", "pip install of what has to be built"))
        if post_build:
            report(Step("phase", "building", f"running {post_build}"))
        below = replace(
            plan.base, image=staged.reference, digest=staged.digest, layers=staged.layers
        )
        digest = made(shop, replace(order, base=below))
    pushing()
    found = pin(shop.store, repo, digest, plan.base.platform)
    size = sum(layer.descriptor.size_bytes for layer in found.layers)
    result = Image(shop.store.reference(repo, digest), digest, size, found.layers)
    return result, replace(stats, image_bytes=size)
