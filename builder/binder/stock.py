"""repo2docker's own buildpacks and repositories' own Dockerfiles, built by our engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.bases.derived import derived
from builder.bases.manifest import pin
from builder.binder import apt, dockerfile, froms, repository
from builder.binder.engine import Order, Workshop, known, made
from builder.binder.froms import read_dockerfile
from builder.binder.python import APT_REPO, Plan, labels_of
from builder.detect import Buildpack
from builder.detect.files import read_text
from builder.errors import InvalidSpecError
from builder.image import digest_of
from builder.model import Base, Image, Step
from builder.skeleton import START as SERVE

TOOLS = ("bzip2", "ca-certificates", "curl", "git", "locales", "wget")
"""What repo2docker's scripts call, which slim images lack."""

CONDA = "https://conda.anaconda.org/"
_RENDER_S = 120
_RUNTIME = re.compile(r"[A-Za-z]+(-[0-9]+(\.[0-9]+)*)?(-\d{4}-\d{2}-\d{2})?")
_FILES = Path(__file__).parent
_APPENDIX = f"""\
COPY --chmod=0755 kitbag-binder {repository.START}
COPY --chmod=0755 kitbag-start {SERVE}
ENV NB_USER=${{NB_USER}} NB_UID=${{NB_UID}}
ENTRYPOINT ["{repository.START}"]
CMD []
"""

__all__ = ["build", "read_dockerfile"]


def build(
    plan: Plan,
    repo: str,
    shop: Workshop,
    scratch: Path,
    *,
    registries: frozenset[str] | None,
    mirrors: Sequence[tuple[str, str]],
    report: Callable[[Step], None],
) -> Image:
    """The image in `repo`; `registries` are those that a Dockerfile may start from, None for all.

    Raises the errors of builder.errors, and those of the engine.
    """
    source = plan.source
    content = _digest_of_files(source.top)
    labels = labels_of(source.url, source.commit)
    if source.detected.buildpack is Buildpack.DOCKERFILE:
        name = source.detected.files[0]
        found = read_dockerfile(source.root, name, plan.base.platform.arch)
        if registries is not None:
            froms.check(found, registries)
        order = Order(
            dockerfile=source.inside(name),
            base=None,
            repo=repo,
            platform=plan.base.platform,
            key=(content,),
            args={"NB_USER": "jovyan", "NB_UID": "1000", "REPO_DIR": repository.REPO_DIR},
            labels=labels,
            cached=True,
            context=source.top,
        )
    else:
        base = with_tools(shop, plan.base)
        context = scratch / "context"
        context.mkdir()
        buildpack = render(plan, base, context, mirrors)
        report(Step("phase", "building", f"repo2docker's {buildpack}"))
        text = digest_of((context / "Dockerfile").read_bytes())
        order = Order(
            dockerfile="Dockerfile",
            base=base,
            repo=repo,
            platform=base.platform,
            key=(content, base.digest, text),
            args={"NB_USER": "jovyan", "NB_UID": "1000", "REPO_DIR": repository.REPO_DIR},
            labels=labels,
            cached=True,
            context=context,
        )
    digest = known(shop, order)
    if digest is not None:
        report(Step("log", "building", "This was built before from the same files."))
    else:
        digest = made(shop, order)
    image = pin(shop.store, repo, digest, order.platform)
    size = sum(layer.descriptor.size_bytes for layer in image.layers)
    return Image(shop.store.reference(repo, digest), digest, size, image.layers)


def with_tools(shop: Workshop, base: Base) -> Base:
    """The base with TOOLS, made once."""
    text = dockerfile.apt(TOOLS, shop.site)
    files = shop.site.apt_files()
    order = Order(text, base, APT_REPO, base.platform, (base.digest, *TOOLS), secrets=files)
    return derived(shop.store, APT_REPO, known(shop, order) or made(shop, order), base)


def render(plan: Plan, base: Base, context: Path, mirrors: Sequence[tuple[str, str]]) -> str:
    """Have repo2docker render the repository into `context`; returns the buildpack's name.

    URLs in what it renders that begin like a mirror's are replaced. Raises InvalidSpecError with
    repo2docker's own words where it refuses.
    """
    detected, top = plan.source.detected, plan.source.top
    folder = "".join(f"{part}/" for part in (detected.subdir, detected.config_dir) if part)
    _check_inputs(plan.source.root, folder)
    order = {
        "top": str(top),
        "context": str(context),
        "base_image": "${BASE}",
        "platform": str(base.platform),
        "appendix": _APPENDIX,
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "builder.binder.render"],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=_RENDER_S,
            check=False,
            env={**_environment(), "HOME": str(context)},
            cwd=Path(__file__).parents[2],
        )
        answer = json.loads(done.stdout or "{}")
    except (subprocess.TimeoutExpired, ValueError):
        answer = {}
    if "buildpack" not in answer:
        said = str(answer.get("detail") or "it gave no answer").splitlines()[0].rstrip(".")[:300]
        raise InvalidSpecError(f"repo2docker can't read this repository ({said}); correct it.")
    shutil.copyfile(_FILES / "files/binder", context / "kitbag-binder")
    shutil.copyfile(_FILES.parent / "files/start", context / "kitbag-start")
    _mirror(context, mirrors)
    return str(answer["buildpack"])


def _check_inputs(root: Path, folder: str) -> None:
    """Refuse what repo2docker would hand to a shell as it is."""
    if (root / f"{folder}apt.txt").is_file():
        apt.read_apt(root, f"{folder}apt.txt")
    name = f"{folder}runtime.txt"
    if (root / name).is_file() and not _RUNTIME.fullmatch(read_text(root, name).strip()):
        raise InvalidSpecError(
            f"'{name}' names no runtime; write one such as python-3.11 or r-4.3-2024-01-01.",
            file=name,
        )


def _environment() -> dict[str, str]:
    """What repo2docker may know of the worker: no settings, so no secrets."""
    kept = ("PATH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "https_proxy", "http_proxy", "no_proxy")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def _mirror(context: Path, mirrors: Sequence[tuple[str, str]]) -> None:
    """Replace the beginnings of URLs in the Dockerfile and the scripts, and tell conda likewise."""
    for path in (context / "Dockerfile", *(context / "build_script_files").glob("*")):
        text = path.read_text()
        for before, after in mirrors:
            text = text.replace(before, after)
            if before == CONDA and path.name.endswith("install-base-env.bash"):
                text = text.replace("channels:\n", f"channel_alias: {after}\nchannels:\n", 1)
        path.write_text(text)


def _digest_of_files(top: Path) -> str:
    """What the repository's files hash to, as the layer that they would make."""

    with Path(os.devnull).open("wb") as nowhere:
        return repository.write(nowhere, top, frozenset(), ()).diff_id
