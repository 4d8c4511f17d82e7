"""Blobs, images and stores."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import pytest

from builder.model import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor
from builder.stores.protocol import Manifest, Store
from builder.stores.registry import RegistryStore


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes, their descriptor, and a count of how often they were opened."""

    data: bytes
    media_type: str = LAYER_TYPE
    opened: list[int] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.data))

    def open(self) -> BinaryIO:
        self.opened.append(1)
        return io.BytesIO(self.data)


MakeBlob = Callable[..., Blob]
MakeStore = Callable[..., RegistryStore]
PushImage = Callable[..., Manifest]


@pytest.fixture
def make_blob(request: pytest.FixtureRequest) -> MakeBlob:
    """Makes a blob of so many bytes, new in each test and the same in each run."""
    rng = random.Random(request.node.nodeid)
    return lambda size: Blob(rng.randbytes(size))


@pytest.fixture
def make_store() -> Iterator[MakeStore]:
    """Makes a store for a host, with little patience unless told otherwise."""
    with ExitStack() as stack:

        def make(host: str, **options: object) -> RegistryStore:
            known: dict[str, object] = {"timeout_s": 10, "deadline_s": 60, "retries": 3, **options}
            return stack.enter_context(RegistryStore(host, **known))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def push_image() -> PushImage:
    """Pushes layers, a config and a manifest, the way a build does; returns the manifest."""

    def push(
        store: Store, repo: str, layers: list[Blob], *tags: str, arch: str = "amd64"
    ) -> Manifest:
        config = Blob(json.dumps({"os": "linux", "architecture": arch}).encode(), CONFIG_TYPE)
        for blob in (*layers, config):
            store.put_blob(repo, blob.descriptor, blob.open)
        manifest = image_manifest(config, layers)
        store.put_manifest(repo, manifest, tags=tags)
        return manifest

    return push


def image_manifest(config: Blob, layers: list[Blob]) -> Manifest:
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor.as_oci(),
            "layers": [layer.descriptor.as_oci() for layer in layers],
        }
    ).encode()
    return Manifest(MANIFEST_TYPE, f"sha256:{hashlib.sha256(data).hexdigest()}", data)
