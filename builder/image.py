"""An image from its parts: config and manifest, the same bytes for the same parts on any day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder.cuda import Cuda
from builder.layers.archive import GID, UID
from builder.model import (
    CONFIG_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    Base,
    Descriptor,
    Layer,
    Lock,
    Platform,
)
from builder.skeleton import HOME, PREFIX, START, USER
from builder.stores.protocol import Manifest

CREATED = "1980-01-01T00:00:00Z"
"""A fixed time: the same environment made tomorrow is the same image."""

PORT = 8888
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Part:
    """A layer of the image and the sentence that `docker history` shows for it."""

    layer: Layer
    title: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What an image says of containers beyond its environment: more variables and labels.

    `path` are folders that go first in PATH; `env` may replace what every image has.
    """

    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    entrypoint: str = START
    working_dir: str = HOME


USUAL = Settings()


@dataclass(frozen=True, slots=True)
class Assembled:
    """An image ready to publish: config bytes with their descriptor, and the manifest."""

    config: bytes
    config_descriptor: Descriptor
    manifest: Manifest
    layers: tuple[Layer, ...]

    @property
    def size_bytes(self) -> int:
        """What a node without any of it must fetch."""
        parts = [layer.descriptor.size_bytes for layer in self.layers]
        return sum(parts) + len(self.config) + len(self.manifest.data)


def assemble(
    base: Base,
    parts: Sequence[Part],
    labels: Mapping[str, str],
    cuda: Cuda | None = None,
    settings: Settings = USUAL,
    annotations: Mapping[str, str] | None = None,
) -> Assembled:
    """Config and manifest (OCI image-spec 1.1) of the base's layers with the parts on top.

    Annotations are the manifest's: they change its digest, and not the image that engines see.
    """
    layers = base.layers + tuple(part.layer for part in parts)
    history = [{"created": CREATED, "created_by": f"base {base.name}"}] * len(base.layers)
    history += [{"created": CREATED, "created_by": f"kitbag: {part.title}"} for part in parts]
    variables = {**environment(base, cuda), **settings.env}
    variables["PATH"] = ":".join((*settings.path, variables["PATH"]))
    config = canonical(
        {
            "architecture": base.platform.arch,
            "os": base.platform.os,
            "created": CREATED,
            "config": {
                "Env": [f"{key}={value}" for key, value in variables.items()],
                "Entrypoint": [settings.entrypoint],
                "User": f"{UID}:{GID}",  # numbers, so that Kubernetes can see it isn't root
                "WorkingDir": settings.working_dir,
                "ExposedPorts": {f"{PORT}/tcp": {}},
                "Labels": dict(sorted({**base.labels, **labels, **settings.labels}.items())),
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": history,
        }
    )
    descriptor = Descriptor(CONFIG_TYPE, digest_of(config), len(config))
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor.as_oci(),
            "layers": [layer.descriptor.as_oci() for layer in layers],
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )
    return Assembled(
        config, descriptor, Manifest(MANIFEST_TYPE, digest_of(manifest), manifest), layers
    )


def index(images: Iterable[tuple[Platform, Descriptor]]) -> Manifest:
    """The index (OCI image-spec 1.1) of one image for each platform, in the platforms' order."""
    entries = [
        descriptor.as_oci() | {"platform": {"architecture": platform.arch, "os": platform.os}}
        for platform, descriptor in sorted(images, key=lambda pair: str(pair[0]))
    ]
    data = canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
    return Manifest(INDEX_TYPE, digest_of(data), data)


def environment(base: Base, cuda: Cuda | None = None) -> dict[str, str]:
    """The image's environment variables: the base's, with the environment's prefix first."""
    known = dict(item.split("=", 1) for item in base.env if "=" in item)
    path = known.get("PATH", DEFAULT_PATH)
    return known | {
        "PATH": f"{PREFIX}/bin:{path}",
        "VIRTUAL_ENV": PREFIX,
        "HOME": HOME,
        "NB_USER": USER,
        "NB_UID": str(UID),
        "NB_GID": str(GID),
        "LANG": known.get("LANG", "C.UTF-8"),
        "SHELL": "/bin/bash",
        **(cuda.environment if cuda else {}),
    }


def labels_of(
    base: Base,
    lock: Lock,
    compiler: str | None,
    cuda: Cuda | None = None,
    packer: str | None = None,
) -> dict[str, str]:
    """Labels that follow from lock, base and recipe, so that they can't make two digests of one."""
    return {
        "org.opencontainers.image.base.digest": base.digest,
        "org.opencontainers.image.base.name": base.name,
        "org.opencontainers.image.title": "Kitbag environment",
        "kitbag.dev/way": "layered",
        "kitbag.dev/python": base.python.version,
        "kitbag.dev/lock": digest_of(lock.text.encode()),
        "kitbag.dev/packages": str(len(lock.wheels)),
        "kitbag.dev/bytecode": f"cpython-{compiler}" if compiler else "none",
        **(cuda.labels if cuda else {}),
        **({"kitbag.dev/compression": packer} if packer else {}),
    }


def canonical(value: Mapping[str, Any]) -> bytes:
    """JSON with one spelling: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: bytes) -> str:
    """`sha256:` and the hex digest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
