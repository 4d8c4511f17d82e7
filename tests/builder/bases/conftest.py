"""Images made by hand, and the one Debian base that a whole run shares."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.bases.debian import debian
from builder.model import CONFIG_TYPE, INDEX_TYPE, LAYER_TYPE, MANIFEST_TYPE, Base, Descriptor, Step
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest, Store

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Entry:
    """One entry of a layer: a file with its bytes unless another kind is given."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""


def link(name: str, target: str) -> Entry:
    return Entry(name, kind=tarfile.SYMTYPE, target=target)


def folder(name: str) -> Entry:
    return Entry(name, kind=tarfile.DIRTYPE)


def whiteout(name: str) -> Entry:
    parent, _, last = name.rpartition("/")
    return Entry(f"{parent}/.wh.{last}".lstrip("/"))


def opaque(name: str) -> Entry:
    return Entry(f"{name}/.wh..wh..opq")


def tar(entries: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size = entry.kind, entry.target, len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("`apt-get install zstd` brings zstd")
    return subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Images:
    """Pushes images into a store: `push(layer, layer, …)` gives the manifest's digest."""

    store: Store
    repo: str = "some/image"
    pushed: list[str] = field(default_factory=list)

    def push(
        self,
        *layers: Iterable[Entry] | bytes,
        pack: Callable[[bytes], bytes] = gzip.compress,
        tag: str = "latest",
        arch: str = "amd64",
        diff_ids: list[str] | None = None,
        **settings: Any,
    ) -> str:
        """`settings` are those of the config: Env, User, Labels; a layer is entries or a blob."""
        plain = [None if isinstance(layer, bytes) else tar(layer) for layer in layers]
        packed = [
            layer if isinstance(layer, bytes) else pack(data or b"")
            for layer, data in zip(layers, plain, strict=True)
        ]
        known = [digest_of(data if data is not None else b"") for data in plain]
        config = {
            "architecture": arch,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": known if diff_ids is None else diff_ids},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self.put(CONFIG_TYPE, json.dumps(config).encode()),
            "layers": [self.put(LAYER_TYPE, data) for data in packed],
        }
        return self.publish(MANIFEST_TYPE, manifest, tag)

    def push_index(self, tag: str, **digests: str) -> str:
        """An index of images: `amd64="sha256:…"`."""
        children = [
            {
                "mediaType": MANIFEST_TYPE,
                "digest": digest,
                "size": 1,
                "platform": {"os": "linux", "architecture": arch},
            }
            for arch, digest in digests.items()
        ]
        return self.publish(
            INDEX_TYPE, {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": children}, tag
        )

    def put(self, media_type: str, data: bytes) -> dict[str, Any]:
        descriptor = Descriptor(media_type, digest_of(data), len(data))
        self.store.put_blob(self.repo, descriptor, lambda: io.BytesIO(data))
        return descriptor.as_oci()

    def publish(self, media_type: str, value: dict[str, Any], tag: str) -> str:
        data = json.dumps(value).encode()
        manifest = Manifest(media_type, digest_of(data), data)
        self.store.put_manifest(self.repo, manifest, tags=(tag,))
        return manifest.digest


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "layout")


@pytest.fixture
def images(layout: LayoutStore) -> Images:
    return Images(layout)


@dataclass(frozen=True)
class DebianBase:
    """The Debian base of the run: where it is, and the cache that it was made in."""

    store: LayoutStore
    base: Base
    cache: Path
    lines: list[str]


def need_mmdebstrap() -> None:
    if shutil.which("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "mmdebstrap is not installed: `apt-get install mmdebstrap` brings it"
        )


@pytest.fixture(scope="session")
def debian_base(tmp_path_factory: pytest.TempPathFactory) -> DebianBase:
    """Made by mmdebstrap once for all runs on this machine and kept in `.cache/bases`."""
    need_mmdebstrap()
    store = LayoutStore(tmp_path_factory.mktemp("debian"))
    cache, steps = ROOT / ".cache/kitbag/bases", list[Step]()
    base = debian(store, cache=cache, report=steps.append)
    return DebianBase(store, base, cache, [step.message for step in steps])
