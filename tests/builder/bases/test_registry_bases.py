"""A base from a real registry is mirrored, pinned, and left without a tag if it is unfit."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig.registry import Registry

from builder.bases.registry import from_registry
from builder.errors import BaseNotFoundError
from builder.model import Platform
from builder.stores.layout import LayoutStore
from builder.stores.open import open_store

from .conftest import Entry, Images
from .test_introspect import BASE, GLIBC, PYTHON

pytestmark = pytest.mark.rig
AMD64 = Platform("linux", "amd64")


@pytest.fixture
def upstream(registry: Registry, request: pytest.FixtureRequest) -> Images:
    repo = request.node.name.lower().replace("[", "-").replace("]", "")
    return Images(open_store(f"registry://{registry.host}"), repo[:200].strip("_"))


def test_the_platforms_image_is_mirrored_and_pinned(upstream: Images, tmp_path: Path) -> None:
    arm = upstream.push(
        [PYTHON, Entry("lib/aarch64-linux-gnu/libc.so.6", GLIBC)], arch="arm64", tag="arm"
    )
    amd = upstream.push(BASE, [Entry("opt/more")], tag="amd")
    upstream.push_index("3.11-slim", amd64=amd, arm64=arm)
    store = LayoutStore(tmp_path)
    base = from_registry(
        upstream.store, upstream.repo, "3.11-slim", store, "mirror", name="py", platform=AMD64
    )
    assert base.digest == amd
    assert base.image == store.reference("mirror", amd)
    assert base.source == f"{upstream.store.name}/{upstream.repo}:3.11-slim"
    assert base.python.version == "3.11.9"
    assert not store.missing("mirror", [layer.descriptor.digest for layer in base.layers])
    tagged = store.manifest("mirror", "3.11-slim")
    assert tagged
    assert tagged.digest == amd


def test_a_base_outlives_its_tag_upstream(upstream: Images, tmp_path: Path) -> None:
    """NVIDIA deletes tags; what was mirrored stays."""
    old = upstream.push(BASE, tag="latest")
    store = LayoutStore(tmp_path)
    mirrored = from_registry(
        upstream.store, upstream.repo, "latest", store, "mirror", name="py", platform=AMD64
    )
    upstream.push(BASE, [Entry("opt/newer")], tag="latest")
    assert mirrored.digest == old
    assert store.manifest("mirror", old)


def test_a_digest_can_be_asked_for(upstream: Images, tmp_path: Path) -> None:
    digest = upstream.push(BASE)
    store = LayoutStore(tmp_path)
    base = from_registry(
        upstream.store, upstream.repo, digest, store, "mirror", name="py", platform=AMD64
    )
    assert base.digest == digest
    assert base.source == f"{upstream.store.name}/{upstream.repo}@{digest}"


def test_an_unfit_image_is_left_without_a_tag(upstream: Images, tmp_path: Path) -> None:
    upstream.push([BASE[2]], tag="bare")
    store = LayoutStore(tmp_path)
    with pytest.raises(BaseNotFoundError, match="has no Python"):
        from_registry(
            upstream.store, upstream.repo, "bare", store, "mirror", name="x", platform=AMD64
        )
    assert store.manifest("mirror", "bare") is None


def test_a_missing_image_is_named(upstream: Images, tmp_path: Path) -> None:
    with pytest.raises(BaseNotFoundError, match=f"{upstream.repo}:nope"):
        from_registry(
            upstream.store,
            upstream.repo,
            "nope",
            LayoutStore(tmp_path),
            "mirror",
            name="x",
            platform=AMD64,
        )


def test_within_one_registry_nothing_is_moved(registry: Registry, upstream: Images) -> None:
    digest = upstream.push(BASE, [Entry("opt/own", upstream.repo.encode())])
    before = registry.blobs()
    base = from_registry(
        upstream.store,
        upstream.repo,
        "latest",
        upstream.store,
        f"{upstream.repo}/mirror",
        name="py",
        platform=AMD64,
    )
    assert base.digest == digest
    assert registry.blobs() == before
