"""The usual image: the same files as one gzip layer on the same base, and that base alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip
from zlib_ng import gzip_ng_threaded

from builder.image import canonical, digest_of
from builder.model import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor, Layer
from builder.stores.protocol import Manifest, Store
from builder.streams import Chunks

_LEVEL = 6
"""What gzip, Docker and BuildKit compress with unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A Kitbag image in a store: its config, and its layers with the base's first."""

    store: Store
    repo: str
    config: dict[str, Any]
    layers: tuple[Layer, ...]

    @classmethod
    def find(cls, store: Store, repo: str, digest: str) -> Pushed:
        """Read the image of that digest."""
        manifest = store.manifest(repo, digest)
        assert manifest is not None
        told = json.loads(manifest.data)
        config = json.loads(b"".join(store.blob(repo, told["config"]["digest"])))
        layers = (
            Layer(Descriptor(LAYER_TYPE, layer["digest"], layer["size"]), diff_id)
            for layer, diff_id in zip(told["layers"], config["rootfs"]["diff_ids"], strict=True)
        )
        return cls(store, repo, config, tuple(layers))

    @property
    def base(self) -> tuple[Layer, ...]:
        """The base's layers, by what the history says of them."""
        titles = [entry["created_by"] for entry in self.config["history"]]
        return self.layers[: sum(title.startswith("base ") for title in titles)]


def push_base_alone(image: Pushed, repo: str) -> str:
    """Publish the image's base under `repo`; returns its reference."""
    return _publish(image, repo, image.base)


def push_one_layer(image: Pushed, repo: str) -> str:
    """Publish the image with all layers above its base made one; returns its reference."""
    with tempfile.TemporaryFile() as file:
        layer = _merged(image, cast("IO[bytes]", file))
        image.store.put_blob(repo, layer.descriptor, partial(_again, cast("IO[bytes]", file)))
    return _publish(image, repo, (*image.base, layer))


def _publish(image: Pushed, repo: str, layers: Sequence[Layer]) -> str:
    for layer in image.base:
        again = partial(_blob, image, layer)
        image.store.put_blob(repo, layer.descriptor, again, mount_from=image.repo)
    rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}
    history = [{"created_by": f"layer {number}"} for number in range(len(layers))]
    config = canonical(image.config | {"rootfs": rootfs, "history": history})
    descriptor = Descriptor(CONFIG_TYPE, digest_of(config), len(config))
    image.store.put_blob(repo, descriptor, partial(io.BytesIO, config))
    data = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor.as_oci(),
            "layers": [layer.descriptor.as_oci() for layer in layers],
        }
    )
    manifest = Manifest(MANIFEST_TYPE, digest_of(data), data)
    image.store.put_manifest(repo, manifest)
    return image.store.reference(repo, manifest.digest)


def _merged(image: Pushed, file: IO[bytes]) -> Layer:
    """Write the layers above the base as one; folders, which many layers have, once."""
    plain = _Hashed()
    seen: set[str] = set()
    with gzip_ng_threaded.open(file, "wb", compresslevel=_LEVEL, threads=2) as packed:
        plain.to = packed
        with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="w|") as tar:
            for layer in image.layers[len(image.base) :]:
                unpacked = igzip.IGzipFile(fileobj=_blob(image, layer))  # type: ignore[no-untyped-call]
                with tarfile.open(fileobj=cast("IO[bytes]", unpacked), mode="r|") as entries:
                    for entry in entries:
                        if entry.name not in seen:
                            seen.add(entry.name)
                            content = entries.extractfile(entry) if entry.isreg() else None
                            tar.addfile(entry, content)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    descriptor = Descriptor(LAYER_TYPE, f"sha256:{digest}", file.tell())
    return Layer(descriptor, f"sha256:{plain.digest.hexdigest()}")


class _Hashed(io.RawIOBase):
    """Hashes what goes through it."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.to: IO[bytes] | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        assert self.to is not None
        self.digest.update(data)
        self.to.write(data)
        return len(data)


def _again(file: IO[bytes]) -> io.BufferedReader:
    return Path(f"/proc/self/fd/{file.fileno()}").open("rb")


def _blob(image: Pushed, layer: Layer) -> io.BufferedReader:
    return io.BufferedReader(Chunks(image.store.blob(image.repo, layer.descriptor.digest)))
