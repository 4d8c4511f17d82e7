"""A registry that lost what it had, in every way it can, gets it again or the operator is told."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.front import Answer, Asked, Front
from rig.registry import Registry

from builder import layered, stored, verify
from builder.errors import BaseNotFoundError, StoreRefusedError
from builder.index import MemoryIndex
from builder.model import Base, Image, Lock
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore

pytestmark = pytest.mark.rig


@pytest.fixture
def repo(tmp_path: Path) -> str:
    """The beginning of repository names that only this test has."""
    return f"lost/{tmp_path.name.replace('_', '-').strip('-')[:60].strip('-')}"


@pytest.fixture
def store(registry: Registry) -> Iterator[RegistryStore]:
    with RegistryStore(registry.host) as opened:
        yield opened


def drop(registry: Registry, repo: str, digest: str, *, blob: bool = True) -> None:
    """Take a blob from a repository, and unless told otherwise from the registry itself."""
    if blob and registry.blob_path(digest).exists():
        shutil.rmtree(registry.blob_path(digest).parent)
    links = registry.root / "docker/registry/v2/repositories" / repo / "_layers/sha256"
    shutil.rmtree(links / digest.removeprefix("sha256:"))


def packages(image: Image) -> list[str]:
    return [layer.descriptor.digest for layer in image.layers[2:-1]]


def whole(store: Any, repo: str, image: Image) -> bool:
    """Whether every byte of the image can be pulled."""
    for layer in image.layers:
        assert sum(map(len, store.blob(repo, layer.descriptor.digest)))
    return store.manifest(repo, image.digest) is not None


def test_a_place_that_lost_a_layer_is_forgotten_and_the_next_one_is_mounted_from(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    base, lock, index = put_base(store, f"{repo}/base"), lock_of(few_wheels), MemoryIndex()
    tools = builder.tools(store, index=index)
    first, _ = builder.build(lock, base, tools, f"{repo}/one")
    builder.build(lock, base, tools, f"{repo}/two")
    digests = packages(first)
    for digest in digests:
        drop(registry, f"{repo}/one", digest, blob=False)
    third, stats = builder.build(lock, base, tools, f"{repo}/three")
    assert third.digest == first.digest
    assert stats.bytes_downloaded == 0
    assert stats.bytes_moved < 20_000, "mounted from the second"
    plan = layered.planned_layers(lock, base, tools)
    assert {item.known.repos for item in plan if item.known} == {(f"{repo}/two", f"{repo}/three")}


def test_a_layer_that_no_place_has_any_more_is_made_and_pushed_again(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    base, lock = put_base(store, f"{repo}/base"), lock_of(few_wheels)
    tools = builder.tools(store)
    first, _ = builder.build(lock, base, tools, f"{repo}/one")
    for digest in packages(first):
        drop(registry, f"{repo}/one", digest)
    other = builder.tools(store, cache="fresh", index=tools.index)
    second, stats = builder.build(lock, base, other, f"{repo}/two")
    assert second.digest == first.digest
    assert stats.bytes_downloaded == sum(wheel.size_bytes for wheel in lock.wheels)
    assert whole(store, f"{repo}/two", second)


def lying(front: Front, digests: set[str]) -> Callable[[Asked], Answer | None]:
    """A registry whose memory says of these that they are there, whatever its disk says."""

    def rule(asked: Asked) -> Answer | None:
        digest = asked.path.rpartition("/")[2]
        if asked.method == "HEAD" and digest in digests:
            return front.answer(200, Docker_Content_Digest=digest)
        return None

    return rule


def test_a_registry_that_says_it_holds_what_it_lost_gets_it_with_the_manifest(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    make_front: Callable[[int], Front],
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    front = make_front(registry.port)
    with RegistryStore(front.host) as liar:
        base, lock = put_base(liar, f"{repo}/base"), lock_of(few_wheels)
        tools = builder.tools(liar)
        first, _ = builder.build(lock, base, tools, f"{repo}/one")
        # Packages of both kinds, the base's, the skeleton's and the record's.
        victims = {packages(first)[0], packages(first)[-1]} | {
            first.layers[n].descriptor.digest for n in (0, 1, -1)
        }
        for digest in victims:
            drop(registry, f"{repo}/one", digest, blob=digest in packages(first))
        front.rule = lying(front, victims)
        second, stats = builder.build(lock, base, tools, f"{repo}/one")
        assert second.digest == first.digest
        assert stats.layers_new == 0
    assert whole(store, f"{repo}/one", second)


def test_a_base_that_lost_a_layer_is_named_with_what_to_do(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    base, lock = put_base(store, f"{repo}/base"), lock_of(few_wheels)
    victim = base.layers[0].descriptor.digest
    drop(registry, f"{repo}/base", victim)
    tools = builder.tools(store)
    with pytest.raises(BaseNotFoundError, match="`kitbag-server base add tiny` again") as caught:
        builder.build(lock, base, tools, f"{repo}/one")
    assert victim in caught.value.detail
    put_base(store, f"{repo}/base")
    image, _ = builder.build(lock, base, tools, f"{repo}/one")
    assert whole(store, f"{repo}/one", image)


def test_a_manifest_that_was_deleted_is_named_and_the_next_build_puts_it_back(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    base, lock, tools = put_base(store, f"{repo}/base"), lock_of(few_wheels), builder.tools(store)
    image, _ = builder.build(lock, base, tools, f"{repo}/one")
    shutil.rmtree(registry.root / f"docker/registry/v2/repositories/{repo}/one/_manifests")
    shutil.rmtree(registry.blob_path(image.digest).parent)
    with pytest.raises(StoreRefusedError, match="build the environment again"):
        stored.read(store, f"{repo}/one", image.digest)
    again, stats = builder.build(lock, base, tools, f"{repo}/one")
    assert (again.digest, stats.bytes_downloaded) == (image.digest, 0)
    assert stored.read(store, f"{repo}/one", image.digest).digest == image.digest


def test_verification_names_what_the_registry_lost_though_it_says_otherwise(
    builder: Any,
    registry: Registry,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    base, lock, tools = put_base(store, f"{repo}/base"), lock_of(few_wheels), builder.tools(store)
    image, _ = builder.build(lock, base, tools, f"{repo}/one")
    found = stored.read(store, f"{repo}/one", image.digest)
    victim = packages(image)[1]
    drop(registry, f"{repo}/one", victim)
    verdict = verify.verify(found, lock, base, f"{repo}/one", tools, tmp_path / "verify")
    assert verdict == verify.Verdict(True, image.digest, image.digest, (), (victim,))


def test_two_registries_of_one_index_are_told_apart(
    builder: Any,
    store: RegistryStore,
    repo: str,
    layout: LayoutStore,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    lock, index = lock_of(few_wheels), MemoryIndex()
    here, there = builder.tools(store, index=index), builder.tools(layout, index=index)
    first, _ = builder.build(lock, put_base(store, f"{repo}/base"), here, f"{repo}/one")
    second, stats = builder.build(lock, put_base(layout), there, f"{repo}/one")
    assert second.digest == first.digest
    assert stats.layers_new == 0, "what came of the wheels is known"
    assert stats.bytes_downloaded == 0, "and on this machine's disk"
    assert whole(layout, f"{repo}/one", second)
    known = layered.planned_layers(lock, put_base(layout), there)
    assert {item.known.repos for item in known if item.known} == {(f"{repo}/one",)}


def test_machines_that_build_the_same_at_once_make_one_image_and_one_row_a_layer(
    builder: Any,
    store: RegistryStore,
    repo: str,
    put_base: Callable[..., Base],
    lock_of: Callable[..., Lock],
    few_wheels: list[Path],
) -> None:
    base, lock, index = put_base(store, f"{repo}/base"), lock_of(few_wheels), MemoryIndex()
    machines = [builder.tools(store, cache=f"machine-{n}", index=index) for n in range(4)]
    with ThreadPoolExecutor(len(machines)) as threads:
        built = [
            threads.submit(layered.build, lock, base, f"{repo}/{number % 2}", tools)
            for number, tools in enumerate(machines)
        ]
        images = [future.result()[0] for future in built]
    assert len({image.digest for image in images}) == 1
    for number in (0, 1):
        assert whole(store, f"{repo}/{number}", dataclasses.replace(images[0]))
    known = layered.planned_layers(lock, base, machines[0])
    assert [item.known.layer for item in known if item.known] == list(images[0].layers[2:-1])
