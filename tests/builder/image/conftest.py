"""Builds on a base made by hand: one tiny layer and a config, in whatever store a test uses."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

from builder import layered
from builder.download import Downloader
from builder.index import LayerIndex, MemoryIndex
from builder.layers import bytecode, gz
from builder.layers.cache import LayerCache
from builder.model import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Base,
    Descriptor,
    Image,
    Layer,
    Lock,
    LockedWheel,
    Platform,
    PythonInfo,
)
from builder.source import HostPolicy
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest, Store

MINOR = "{}.{}".format(*sys.version_info[:2])


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def put_base() -> Callable[..., Base]:
    """Puts the base into a repository of a store: `put_base(store, repo="bases/tiny")`."""

    def put(store: Store, repo: str = "bases/tiny", layers: int = 1) -> Base:
        made = [_tiny_layer(number) for number in range(layers)]
        for layer, data in made:
            store.put_blob(repo, layer.descriptor, lambda data=data: io.BytesIO(data))
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/usr/bin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer, _ in made]},
            }
        ).encode()
        described = Descriptor(CONFIG_TYPE, digest_of(config), len(config))
        store.put_blob(repo, described, lambda: io.BytesIO(config))
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": described.as_oci(),
                "layers": [layer.descriptor.as_oci() for layer, _ in made],
            }
        ).encode()
        store.put_manifest(repo, Manifest(MANIFEST_TYPE, digest_of(manifest), manifest))
        return Base(
            name="tiny",
            image=store.reference(repo, digest_of(manifest)),
            digest=digest_of(manifest),
            platform=Platform(),
            layers=tuple(layer for layer, _ in made),
            python=PythonInfo(f"{MINOR}.2", f"/usr/bin/python{MINOR}"),
            glibc=(2, 36),
            env=("PATH=/usr/bin:/bin",),
            labels={"org.example": "tiny"},
            passwd="root:x:0:0:root:/root:/bin/bash\n",
            group="root:x:0:\nusers:x:100:\n",
        )

    return put


def _tiny_layer(number: int) -> tuple[Layer, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"etc-base-{number}"))
    plain = out.getvalue()
    packed = gz.member(plain)
    descriptor = Descriptor(LAYER_TYPE, digest_of(packed), len(packed))
    return Layer(descriptor, digest_of(plain)), packed


@pytest.fixture
def lock_of(wheel_factory: WheelFactory) -> Callable[..., Lock]:
    """The lock of some wheels of the factory."""

    def make(paths: Sequence[Path]) -> Lock:
        wheels = tuple(_locked(wheel_factory, path) for path in sorted(paths))
        text = "".join(f"{wheel.name}=={wheel.version} {wheel.sha256}\n" for wheel in wheels)
        return Lock(MINOR, Platform(), wheels, text)

    return make


def _locked(factory: WheelFactory, path: Path) -> LockedWheel:
    name, version = path.name.split("-")[:2]
    return LockedWheel(
        name=name.replace("_", "-"),
        version=version,
        filename=path.name,
        url=factory.index_url.replace("/simple/", f"/files/{path.name}"),
        sha256=factory.sha256(path),
        size_bytes=path.stat().st_size,
    )


@dataclass(slots=True)
class Builder:
    """Builds, each with what it is given and otherwise with tools of its own."""

    folder: Path
    stack: ExitStack
    compiler: bytecode.Compiler | None
    steps: list[Any] = field(default_factory=list)

    def tools(
        self,
        store: Store,
        *,
        cache: str = "cache",
        index: LayerIndex | None = None,
        policy: HostPolicy | None = None,
        **options: Any,
    ) -> layered.Tools:
        downloader = Downloader(
            self.folder / cache / "wheels", policy or HostPolicy(private=True), **options
        )
        self.stack.callback(downloader.close)
        return layered.Tools(
            store,
            index or MemoryIndex(),
            LayerCache(self.folder / cache / "layers"),
            downloader,
            self.compiler,
        )

    def build(
        self, lock: Lock, base: Base, tools: layered.Tools, repo: str = "ns/env", **options: Any
    ) -> tuple[Image, layered.Stats]:
        return layered.build(lock, base, repo, tools, report=self.steps.append, **options)


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[Builder]:
    interpreter = bytecode.find_interpreter(MINOR)
    assert interpreter is not None
    with ExitStack() as stack:
        compiler = stack.enter_context(bytecode.Compiler(interpreter, 2))
        yield Builder(tmp_path, stack, compiler)


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "layout")


@pytest.fixture
def no_threads_left() -> Iterator[None]:
    """What a build leaves behind ends with the requests that were under way, of at most 20 s."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith(("push", "fetch", "splice", "compile")):
            thread.join(30)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def json_blob() -> Callable[..., Any]:
    """A JSON blob of a store."""
    return lambda store, repo, digest: json.loads(b"".join(store.blob(repo, digest)))


@pytest.fixture
def few_wheels(wheel_factory: WheelFactory) -> list[Path]:
    """A dozen wheels: small ones, and two over a megabyte that get layers of their own."""
    paths = [
        wheel_factory.wheel(f"small-{n}", files={f"small_{n}/__init__.py": f"N = {n}\n" * 20})
        for n in range(10)
    ]
    for name in ("large-a", "large-b"):
        module = name.replace("-", "_")
        content = hashlib.shake_256(name.encode()).digest(1_500_000)
        files = {f"{module}/__init__.py": "x = 1\n", f"{module}/data.bin": content}
        paths.append(wheel_factory.wheel(name, files=files))
    return paths
