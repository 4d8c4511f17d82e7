"""An image goes to another base by manifests alone, and comes out as a build there would."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.registry import Registry

from builder import rebase, stored, verify
from builder.errors import RebaseRefusedError
from builder.layers.cache import LayerCache
from builder.model import Base, Lock, Platform, PythonInfo
from builder.stores.layout import LayoutStore
from builder.stores.open import open_store
from builder.stores.protocol import Store

Change = Callable[[Base], Base]


@pytest.fixture(params=["layout", "registry"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "layout":
        return LayoutStore(tmp_path / "layout")
    registry: Registry = request.getfixturevalue("registry")
    return open_store(f"registry://{registry.host}/{tmp_path.name}")


def newer(base: Base) -> Base:
    """The base with another patch release of Python in another place."""
    minor = base.python.minor
    python = PythonInfo(f"{minor}.99", f"/usr/local/bin/python{minor}")
    return dataclasses.replace(base, name="newer", python=python, glibc=(2, 41))


def test_a_rebased_image_is_what_a_build_on_the_new_base_makes(
    builder: Any, store: Store, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    old, new = put_base(store), newer(put_base(store, "bases/newer", layers=2))
    lock, tools = lock_of(few_wheels), builder.tools(store)
    image, _ = builder.build(lock, old, tools)
    before = stored.read(store, "ns/env", image.digest)
    made = rebase.rebase(before, lock, old, new, "ns/env", store)
    again = rebase.rebase(before, lock, old, new, "ns/env", store)
    built, _ = builder.build(lock, new, tools, repo="ns/other")
    assert made.digest == again.digest == built.digest != image.digest
    assert store.manifest("ns/env", made.digest) is not None
    assert not store.missing("ns/env", [layer.descriptor.digest for layer in made.layers])
    assert stored.read(store, "ns/env", made.digest).compiler == before.compiler
    packages = {layer.descriptor.digest for layer in image.layers[2:-1]}
    assert packages == {layer.descriptor.digest for layer in made.layers[3:-1]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: dataclasses.replace(b, python=PythonInfo("3.9.1", "/p")), "has Python 3.9.1"),
        (lambda b: dataclasses.replace(b, platform=Platform("linux", "arm64")), "linux/arm64"),
        (lambda b: dataclasses.replace(b, glibc=(2, 17)), "needs glibc 2.28"),
        (lambda b: dataclasses.replace(b, glibc=None), "has no glibc"),
        (lambda b: dataclasses.replace(b, cuda="12.6.3"), "has CUDA 12.6.3"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    change: Change,
    reason: str,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
) -> None:
    old = put_base(layout)
    lock: Lock = lock_of(few_wheels)
    needs = "needs-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    wheel = dataclasses.replace(lock.wheels[0], filename=needs)
    lock = dataclasses.replace(lock, wheels=(wheel, *lock.wheels[1:]))
    rebase.check(lock, old, newer(old))
    with pytest.raises(RebaseRefusedError) as refused:
        rebase.check(lock, old, change(old))
    assert reason in refused.value.detail


@pytest.mark.parametrize(
    ("filename", "needed"),
    [
        ("a-1-py3-none-any.whl", None),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", (2, 28)),
        ("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", (2, 17)),
        ("a-1-cp311-cp311-manylinux1_x86_64.whl", (2, 5)),
        ("a-1-cp311-cp311-linux_x86_64.whl", (0, 0)),
    ],
)
def test_the_glibc_of_a_wheel_is_in_its_name(filename: str, needed: tuple[int, int] | None) -> None:
    assert rebase.glibc_of(filename) == needed


def test_an_image_verifies_equal_from_an_empty_cache(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    old, lock, tools = put_base(layout), lock_of(few_wheels), builder.tools(layout)
    image, _ = builder.build(lock, old, tools)
    new = newer(put_base(layout, "bases/newer", layers=2))
    found = stored.read(layout, "ns/env", image.digest)
    moved = rebase.rebase(found, lock, old, new, "ns/env", layout)
    for number, (digest, base) in enumerate(((image.digest, old), (moved.digest, new))):
        there = stored.read(layout, "ns/env", digest)
        scratch = tmp_path / f"verify-{number}"
        verdict = verify.verify(there, lock, base, "ns/env", tools, scratch)
        assert verdict == verify.Verdict(True, digest, digest, ())
        assert any((scratch / "cache").iterdir())


def test_the_layers_and_files_that_differ_are_named(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    base, lock = put_base(layout), lock_of(few_wheels)
    tools = dataclasses.replace(builder.tools(layout), cache=LayerCache(tmp_path / "own"))
    plain = dataclasses.replace(tools, compiler=None)
    image, _ = builder.build(lock, base, plain)
    found = stored.read(layout, "ns/env", image.digest)
    assert found.compiler is None
    verdict = verify.verify(found, lock, base, "ns/env", tools, tmp_path / "verify")
    assert not verdict.equal and verdict.stored == image.digest != verdict.rebuilt
    named = {name: item for item in verdict.layers for name in item.files}
    compiled = [name for name in named if name.endswith(".pyc") and "large_a" in name]
    assert compiled, list(named)[:9]
    assert named[compiled[0]].holds == "large-a 1.0"
