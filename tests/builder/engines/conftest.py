"""Engines of the rig, a base of two megabytes in a store, and folders to build."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from rig.docker import DockerEngine as RigEngine
from rig.registry import Registry
from rig.root import tar_of, tiny_root

from builder.bases.manifest import pin
from builder.engines.address import Address
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.protocol import Job, Limits
from builder.image import canonical, digest_of
from builder.layers.compress import compress
from builder.model import CONFIG_TYPE, MANIFEST_TYPE, Base, Descriptor, Image, Platform, PythonInfo
from builder.stores.credentials import Fixed, Login
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest, Store
from builder.stores.registry import RegistryStore

NO_LIMITS = Limits()
PROGRAMS = ("sh", "cat", "id", "sleep", "dd", "mkdir", "env", "tail", "head", "yes", "rm")


@dataclass
class Told:
    """What a build said, and when somebody wants it to stop."""

    lines: list[str] = field(default_factory=list)
    stop_at: str | None = None
    at: Callable[[], None] | None = None
    stopped: bool = False

    def log(self, line: str) -> None:
        self.lines.append(line)
        # What a step prints, and not the command that says it will.
        if self.stop_at is not None and line.endswith(self.stop_at) and "echo" not in line:
            if self.at is not None:
                self.at()
            else:
                self.stopped = True

    def cancelled(self) -> bool:
        return self.stopped

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class Builds:
    """Builds Dockerfiles on an engine: `build("RUN …")` on the tiny base."""

    def __init__(self, engine: DockerEngine, store: Store, base: Base, folder: Path) -> None:
        self.engine, self.store, self.base = engine, store, base
        self.folder = folder
        self.told = Told()

    def job(self, *steps: str, limits: Limits = NO_LIMITS, **more: object) -> Job:
        context = self.folder / uuid4().hex
        context.mkdir()
        text = "\n".join(["ARG BASE", "FROM ${BASE}", *steps])
        (context / "Dockerfile").write_text(f"{text}\n")
        known = {"id": f"t{uuid4().hex[:12]}", "repo": "hep/built", "base": self.base, **more}
        return Job(context=context, platform=Platform(), limits=limits, **known)  # type: ignore[arg-type]

    def run(self, job: Job) -> Image:
        return self.engine.build(job, self.store, log=self.told.log, cancelled=self.told.cancelled)

    def build(self, *steps: str, limits: Limits = NO_LIMITS, **more: object) -> Image:
        return self.run(self.job(*steps, limits=limits, **more))


def put_root(tar: Path, store: Store, repo: str, folder: Path) -> Base:
    """An image of one layer, made of a root file system's tar."""
    packed = folder / f"{uuid4().hex}.gz"
    with tar.open("rb") as plain:
        layer = compress(plain, packed)
    store.put_blob(repo, layer.descriptor, lambda: packed.open("rb"))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    config = canonical(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": [path]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        }
    )
    blob = Descriptor(CONFIG_TYPE, digest_of(config), len(config))
    store.put_blob(repo, blob, lambda: io.BytesIO(config))
    data = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": blob.as_oci(),
            "layers": [layer.descriptor.as_oci()],
        }
    )
    digest = digest_of(data)
    store.put_manifest(repo, Manifest(MANIFEST_TYPE, digest, data), tags=["1"])
    return Base(
        name="tiny",
        image=store.reference(repo, digest),
        digest=digest,
        platform=Platform(),
        layers=pin(store, repo, digest, Platform()).layers,
        python=PythonInfo("3.11.2", "/usr/bin/python3"),
        glibc=(2, 36),
    )


def config_of(store: Store, repo: str, image: Image) -> dict[str, object]:
    """The config of an image in a store."""
    manifest = store.manifest(repo, image.digest)
    assert manifest is not None
    digest = json.loads(manifest.data)["config"]["digest"]
    found: dict[str, object] = json.loads(b"".join(store.blob(repo, digest)))
    return found


@pytest.fixture(scope="session")
def tiny_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tar of a root file system with a shell and a few programs."""
    folder = tmp_path_factory.mktemp("tiny")
    return tar_of(tiny_root(folder / "root", PROGRAMS), folder / "root.tar")


@pytest.fixture(params=[Builder.BUILDKIT, Builder.CLASSIC])
def builder(request: pytest.FixtureRequest) -> Builder:
    """Each of the two builders of a Docker Engine in turn."""
    found: Builder = request.param
    return found


@pytest.fixture
def engine(docker_engine: RigEngine, builder: Builder) -> Iterator[DockerEngine]:
    """The rig's engine as the builder sees it."""
    # The rig has no bridge, and its package index and registry are on loopback.
    made = DockerEngine(Address(docker_engine.host), builder=builder, network="host")
    yield made
    made.close()


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStore:
    """An empty layout on disk."""
    return LayoutStore(tmp_path / "layout", host="127.0.0.1:1")


@pytest.fixture
def in_layout(engine: DockerEngine, layout: LayoutStore, tiny_tar: Path, tmp_path: Path) -> Builds:
    """Builds whose base and images are in a layout."""
    base = put_root(tiny_tar, layout, "bases/tiny", tmp_path)
    return Builds(engine, layout, base, tmp_path)


@pytest.fixture
def in_registry(
    engine: DockerEngine, basic_registry: Registry, tiny_tar: Path, tmp_path: Path
) -> Builds:
    """Builds whose base and images are in a registry behind a password."""
    known = basic_registry.credentials
    assert known is not None
    login = Fixed(Login(known.user, known.password))
    store = RegistryStore(basic_registry.host, prefix="envs", credentials=login)
    base = put_root(tiny_tar, store, "bases/tiny", tmp_path)
    return Builds(engine, store, base, tmp_path)


@pytest.fixture
def leftovers(docker_engine: RigEngine) -> Callable[[], list[str]]:
    """What builds have left in the rig's engine: containers, networks and named images."""

    def listed() -> list[str]:
        found = docker_engine.docker("ps", "-aq").stdout.split()
        found += docker_engine.docker(
            "network", "ls", "-q", "--filter=label=kitbag.dev/build"
        ).stdout.split()
        images = docker_engine.docker("images", "--format={{.Repository}}:{{.Tag}}").stdout
        return found + [
            name
            for name in images.split()
            if name.startswith("kitbag.dev/build") or ":image-" in name
        ]

    return listed
