"""The Debian base: made on the worker, for sites and tests where no registry can be reached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from builder.bases import apt
from builder.bases.bootstrap import bootstrap
from builder.bases.introspect import introspect
from builder.errors import BaseNotFoundError, DiskFullError, IndexUnreachableError
from builder.model import CONFIG_TYPE, MANIFEST_TYPE, Base, Descriptor, Layer, Platform, Step
from builder.stores.protocol import Manifest, Store

DEFAULT_SUITE = "bookworm"
DEFAULT_PACKAGES = ("curl", "git", "less", "libgomp1", "openssh-client", "procps", "tini")
"""What a notebook's terminal and a training job's container use beside Python."""

DEFAULT_EPOCH = 1_577_836_800
"""1 January 2020: no file of the root is younger, whenever it was made."""

_RECIPE = 1
"""One more whenever something else than `finish.sh` changes what is in the root."""

_KEPT = 2
"""How many roots of one recipe stay in the cache: mirrors change a few times a week."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64", "ppc64el": "ppc64le", "s390x": "s390x"}
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")


def debian(
    store: Store,
    repo: str = "kitbag/base/debian",
    *,
    suite: str = DEFAULT_SUITE,
    packages: Sequence[str] = DEFAULT_PACKAGES,
    cache: Path,
    source_date_epoch: int = DEFAULT_EPOCH,
    report: Callable[[Step], None],
    name: str = "debian",
    timeout_s: float = 1800,
) -> Base:
    """A minimal Debian root with Python and the user jovyan (1000:100) as an image tagged `suite`.

    It is made once for the packages that the machine's mirror offers and kept under `cache` (about
    80 MB each); the same packages give the same digest. With the mirror away, the one made last is
    used. Raises BaseNotFoundError with what to install or change, IndexUnreachableError,
    TimedOutError, DiskFullError, and what the store raises.
    """
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise BaseNotFoundError(f"{package!r} is no name of a Debian package; correct it.")
    sources = apt.sources(suite)
    recipe = _recipe(suite, packages, sources, source_date_epoch)
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / f"{recipe}.lock"):
        made = _newest(cache, recipe, sources, report)
        if not (made / "layer.json").exists():
            _say(report, f"Making a Debian {suite} root with mmdebstrap; this takes about 30 s.")
            _make(made, suite, packages, sources, source_date_epoch, report, timeout_s)
        layer = _read_layer(made)
        digest = _push(store, repo, made, layer, suite, source_date_epoch)
        return _facts(store, repo, made, digest, name=name, suite=suite)


def _recipe(
    suite: str, packages: Sequence[str], sources: Sequence[apt.Source], source_date_epoch: int
) -> str:
    """What decides the root beside what the mirror offers, in 16 hex digits."""
    finish = files("builder.bases").joinpath("finish.sh").read_bytes()
    parts = [
        _RECIPE,
        hashlib.sha256(finish).hexdigest(),
        suite,
        sorted(set(packages)),
        source_date_epoch,
        [source.line(public=True) for source in sources],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _newest(
    cache: Path, recipe: str, sources: Sequence[apt.Source], report: Callable[[Step], None]
) -> Path:
    """The folder of the root that the mirror offers now or, if it is away, of the last one made."""
    architecture = apt.architecture()
    try:
        offered = "".join(apt.packages_digest(source, architecture) for source in sources)
    except IndexUnreachableError as error:
        made = _made(cache, recipe)
        if not made:
            raise
        _say(report, f"{error.detail} Using the Debian root made last.", kind="warning")
        return made[-1]
    return cache / f"{recipe}-{hashlib.sha256(offered.encode()).hexdigest()[:16]}"


def _made(cache: Path, recipe: str) -> list[Path]:
    """The folders of finished roots of the recipe, oldest first."""
    layers = cache.glob(f"{recipe}-*/layer.json")
    return [path.parent for path in sorted(layers, key=lambda path: path.stat().st_mtime)]


def forget_old(cache: Path, recipe: str) -> None:
    """Remove all finished roots of the recipe but the newest two."""
    for old in _made(cache, recipe)[:-_KEPT]:
        shutil.rmtree(old)


def _make(
    made: Path,
    suite: str,
    packages: Sequence[str],
    sources: Sequence[apt.Source],
    source_date_epoch: int,
    report: Callable[[Step], None],
    timeout_s: float,
) -> None:
    made.mkdir(exist_ok=True)
    layer = bootstrap(
        suite,
        packages,
        sources,
        made / "layer.tar.gz",
        source_date_epoch=source_date_epoch,
        say=lambda line: _say(report, line),
        timeout_s=timeout_s,
    )
    _write_json(made / "layer.json", asdict(layer))
    forget_old(made.parent, made.name.partition("-")[0])


def _push(
    store: Store, repo: str, made: Path, layer: Layer, suite: str, source_date_epoch: int
) -> str:
    """Put layer, config and manifest where they are missing; the manifest's digest."""
    config = _json(_config(layer, suite, source_date_epoch))
    config_descriptor = Descriptor(CONFIG_TYPE, _digest(config), len(config))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config_descriptor.as_oci(),
            "layers": [layer.descriptor.as_oci()],
        }
    )
    store.put_blob(repo, layer.descriptor, lambda: (made / "layer.tar.gz").open("rb"))
    store.put_blob(repo, config_descriptor, lambda: BytesIO(config))
    digest = _digest(manifest)
    store.put_manifest(repo, Manifest(MANIFEST_TYPE, digest, manifest), tags=(suite,))
    return digest


def _config(layer: Layer, suite: str, source_date_epoch: int) -> dict[str, Any]:
    """The image's config (OCI image-spec v1.1); the notebook user is chosen when it's built on."""
    created = datetime.fromtimestamp(source_date_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "created": created,
        "architecture": _platform().arch,
        "os": "linux",
        "config": {
            "Env": [f"PATH={_PATH}", "LANG=C.UTF-8"],
            "Cmd": ["/bin/bash"],
            "Labels": {"kitbag.dev/base": f"debian-{suite}"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": created, "created_by": f"kitbag: Debian {suite} by mmdebstrap"}],
    }


def _facts(store: Store, repo: str, made: Path, digest: str, *, name: str, suite: str) -> Base:
    """The introspected base; looked into once, since the same digest has the same facts."""
    known = made / f"base-{digest.removeprefix('sha256:')}.json"
    if not known.exists():
        base = introspect(store, repo, digest, name=name, platform=_platform())
        _write_json(known, base.to_json())
    return replace(
        Base.from_json(json.loads(known.read_bytes())),
        name=name,
        image=store.reference(repo, digest),
        source=f"debian:{suite}",
    )


def check_platform(platform: Platform) -> None:
    """Raise BaseNotFoundError if that isn't this machine's.

    A package's scripts run when it is installed, and programs of another machine only run where an
    emulator is registered with the kernel, which a worker in a container can't count on.
    """
    own = _platform()
    if platform != own:
        raise BaseNotFoundError(
            f"A Debian base can only be made on a machine of its own kind, and this one is {own}; "
            f"name a registry image for {platform}: kitbag-server base add NAME --image IMAGE "
            f"--platform {platform}."
        )


def _platform() -> Platform:
    architecture = apt.architecture()
    if architecture not in _ARCHITECTURES:
        raise BaseNotFoundError(
            f"Debian's architecture {architecture} has no name in OCI images that Kitbag knows; "
            "name a registry image as the base."
        )
    return Platform("linux", _ARCHITECTURES[architecture])


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock file, so that two workers don't make the same root at once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read_layer(made: Path) -> Layer:
    data = json.loads((made / "layer.json").read_bytes())
    return Layer(Descriptor(**data["descriptor"]), data["diff_id"])


def _write_json(path: Path, value: object) -> None:
    """Appear whole or not at all."""
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(_json(value))
        partial.replace(path)
    except OSError as error:
        raise DiskFullError(
            f"The cache folder of bases can't be written ({error.strerror}); free some space in it."
        ) from error


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _say(report: Callable[[Step], None], message: str, kind: str = "log") -> None:
    report(Step(kind, "base", message))
