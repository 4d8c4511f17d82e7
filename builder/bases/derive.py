"""A base derived from a bare image, such as CUDA's: an engine adds what notebooks need."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from builder.bases import facts
from builder.bases.introspect import introspect, look
from builder.bases.manifest import pin
from builder.engines.authorities import Authorities, authorities
from builder.engines.protocol import Engine, Job, Limits
from builder.errors import BaseNotFoundError, EngineNeededError
from builder.model import Base, Layer, Platform
from builder.stores.copy import copy_image
from builder.stores.names import is_digest
from builder.stores.protocol import Store

PACKAGES = (
    "bzip2",
    "ca-certificates",
    "git",
    "python3",
    "python3-venv",
    "tini",
    "wget",
)
"""Debian's and Ubuntu's: Python, what repo2docker's scripts call, and an init process."""

_RELEASE = re.compile(r'^(ID|ID_LIKE|PRETTY_NAME)="?([^"\n]{1,200})"?$', re.MULTILINE)
_APT = frozenset({"debian", "ubuntu"})

# The notebook user as everywhere in Kitbag: 1000:100. Ubuntu's images since 24.04 have a user of
# that number already, who gets the name and the home.
_SCRIPT = """\
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get {options}-o Acquire::Retries=3 update
apt-get {options}-o Acquire::Retries=3 install -y --no-install-recommends {packages}
old=$(getent passwd 1000 | cut -d: -f1)
getent group 100 >/dev/null || groupadd --gid 100 users
if [ -z "$old" ]; then
    useradd --uid 1000 --gid 100 --no-log-init --create-home --shell /bin/bash jovyan
elif [ "$old" != jovyan ]; then
    usermod --login jovyan --gid 100 --home /home/jovyan --move-home --shell /bin/bash "$old"
fi
mkdir -p /home/jovyan
chown -R 1000:100 /home/jovyan
find /home/jovyan -mindepth 1 -delete
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/* /tmp/*
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-
"""
_DOCKERFILE = """\
ARG BASE
FROM ${{BASE}}
USER root
COPY derive.sh /tmp/derive.sh
RUN {run}sh /tmp/derive.sh
WORKDIR /home/jovyan
ENTRYPOINT []
CMD ["/bin/bash"]
"""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """The bare image where it was copied to."""

    name: str
    image: str
    digest: str
    layers: tuple[Layer, ...]


def derive(
    engine: Engine,
    src: Store,
    src_repo: str,
    reference: str,
    dst: Store,
    dst_repo: str,
    *,
    name: str,
    platform: Platform,
    build: str,
    limits: Limits,
    ca_bundle: Path | None = None,
    log: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Base:
    """Mirror the image, pinned by digest, build on it, look into the result: a base.

    The mirror stays in `dst_repo`, since registries delete tags. `build` names the engine's build.
    Raises BaseNotFoundError for a distribution other than Debian, Ubuntu and their kin, and what
    stores, the engine and `introspect` raise.
    """
    manifest = copy_image(src, src_repo, reference, dst, dst_repo, platform=platform)
    mark = "@" if is_digest(reference) else ":"
    source = f"{src.name}/{src_repo}{mark}{reference}"
    image = pin(dst, dst_repo, manifest.digest, platform)
    _check_distribution(facts.os_release(look(dst, dst_repo, image)), source)
    mirrored = Mirrored(source, dst.reference(dst_repo, image.digest), image.digest, image.layers)
    trusted = authorities(engine, ca_bundle)
    if ca_bundle is not None and not engine.mounts:
        log("The engine can't mount KITBAG_CA_BUNDLE: only the image's own authorities count.")
    with tempfile.TemporaryDirectory(prefix="kitbag-engine-") as folder:
        _write_context(Path(folder), trusted)
        job = Job(
            id=build,
            context=Path(folder),
            repo=dst_repo,
            platform=platform,
            base=mirrored,
            labels={"kitbag.dev/derived-from": f"{source.partition('@')[0]}@{image.digest}"},
            secrets=trusted.secrets,
            limits=limits,
        )
        made = engine.build(job, dst, log=log, cancelled=cancelled)
    base = introspect(dst, dst_repo, made.digest, name=name, platform=platform)
    return replace(base, source=source if mark == "@" else f"{source}@{image.digest}")


def needed(engine: Engine | None) -> Engine:
    """The engine itself; EngineNeededError where none is configured."""
    if engine is None:
        raise EngineNeededError(
            "A base is derived by a container engine, and none is configured: set KITBAG_ENGINE, "
            "or name an image that has a Python."
        )
    return engine


def _write_context(folder: Path, trusted: Authorities) -> None:
    # apt has a setting of its own for authorities.
    options = "".join(f"-o Acquire::https::CAInfo={path} " for path in [trusted.file] if path)
    script = _SCRIPT.format(options=options, packages=" ".join(PACKAGES))
    (folder / "derive.sh").write_text(script)
    (folder / "Dockerfile").write_text(_DOCKERFILE.format(run=trusted.run))


def _check_distribution(os_release: str, source: str) -> None:
    found = dict(
        re.findall(r'^(ID|ID_LIKE|PRETTY_NAME)="?([^"\n]{1,200})"?$', os_release, re.MULTILINE)
    )
    kin = {found.get("ID", ""), *found.get("ID_LIKE", "").split()}
    if not kin & _APT:
        system = found.get("PRETTY_NAME") or found.get("ID") or "a system without /etc/os-release"
        raise BaseNotFoundError(
            f"{source} is {system}, and bases are derived from Debian and Ubuntu only; name an "
            "image of theirs, or one that has Python, wget, bzip2, git and tini already."
        )
