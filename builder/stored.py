"""An image of ours read back from a store: its layers and labels, for what is done to it later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import StoreRefusedError
from builder.model import Accelerator, Compression, Descriptor, Layer
from builder.stores.protocol import Store

_CONFIG_LIMIT_BYTES = 16 << 20
_BYTECODE = "kitbag.dev/bytecode"
_ACCELERATOR = "kitbag.dev/accelerator"
_COMPRESSION = "kitbag.dev/compression"


@dataclass(frozen=True, slots=True)
class Stored:
    """The layers in manifest order, and the labels of the config."""

    digest: str
    layers: tuple[Layer, ...]
    labels: Mapping[str, str]

    @property
    def compiler(self) -> str | None:
        """The version of the CPython that compiled its packages, None if nothing is compiled."""
        said = self.labels.get(_BYTECODE, "none")
        return None if said == "none" else said.removeprefix("cpython-")

    @property
    def packer(self) -> str | None:
        """What packed its packages, such as zstd-1.5.7; None for gzip."""
        return self.labels.get(_COMPRESSION)

    @property
    def compression(self) -> Compression:
        """How its packages are packed."""
        return Compression.ZSTD if self.packer else Compression.GZIP

    @property
    def accelerator(self) -> str:
        """What it computes on; only images for CUDA have a label for it."""
        return self.labels.get(_ACCELERATOR, str(Accelerator.CPU))


def read(store: Store, repo: str, digest: str) -> Stored:
    """The image of that digest; raises StoreRefusedError if the store lost it or it isn't ours."""
    found = store.manifest(repo, digest)
    if found is None:
        raise StoreRefusedError(
            f"{store.name} has no image {repo}@{digest} any more; build the environment again."
        )
    try:
        manifest = json.loads(found.data)
        config = json.loads(_config(store, repo, manifest))
        layers = [
            Descriptor(each["mediaType"], each["digest"], int(each["size"]))
            for each in manifest["layers"]
        ]
        pairs = zip(layers, config["rootfs"]["diff_ids"], strict=True)
        labels = config["config"].get("Labels") or {}
        return Stored(digest, tuple(Layer(layer, diff_id) for layer, diff_id in pairs), labels)
    except FileNotFoundError as error:
        raise StoreRefusedError(
            f"{store.name} lost the config of {repo}@{digest}; build the environment again."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreRefusedError(
            f"{repo}@{digest} is not an image that Kitbag made; build the environment again."
        ) from error


def _config(store: Store, repo: str, manifest: Mapping[str, Any]) -> bytes:
    if int(manifest["config"]["size"]) > _CONFIG_LIMIT_BYTES:
        raise ValueError("no config is that large")
    return b"".join(store.blob(repo, manifest["config"]["digest"]))
