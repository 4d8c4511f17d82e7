"""A lock and a base become an image: valid, the same everywhere, and only the new moves."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rig.registry import Registry
from rig.wheels import WheelFactory

from builder.index import MemoryIndex
from builder.layers import splicers
from builder.model import CONFIG_TYPE, LAYER_TYPE, Lock
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore


def manifest_of(store: Any, image: Any, repo: str = "ns/env") -> dict[str, Any]:
    return json.loads(store.manifest(repo, image.digest).data)


def test_every_digest_of_the_image_holds(
    builder: Any, layout: LayoutStore, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    base, lock = put_base(layout), lock_of(few_wheels)
    image, stats = builder.build(lock, base, builder.tools(layout))
    manifest = manifest_of(layout, image)
    config_bytes = b"".join(layout.blob("ns/env", manifest["config"]["digest"]))
    config = json.loads(config_bytes)
    assert manifest["config"]["mediaType"] == CONFIG_TYPE
    assert manifest["config"]["size"] == len(config_bytes)
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == len(config["history"])
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = b"".join(layout.blob("ns/env", layer["digest"]))
        assert layer["mediaType"] == LAYER_TYPE
        assert layer["size"] == len(data)
        assert layer["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert diff_id == f"sha256:{hashlib.sha256(gzip.decompress(data)).hexdigest()}"
    assert config["config"]["User"] == "1000:100"
    assert config["config"]["Entrypoint"] == ["/opt/kitbag/start"]
    assert "PATH=/opt/env/bin:/usr/bin:/bin" in config["config"]["Env"]
    assert config["config"]["Labels"]["org.example"] == "tiny"
    assert stats.packages == 12
    assert image.size_bytes == (
        sum(layer["size"] for layer in manifest["layers"])
        + manifest["config"]["size"]
        + len(layout.manifest("ns/env", image.digest).data)  # type: ignore[union-attr]
    )


def test_another_program_copies_and_reads_the_image(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    image, _ = builder.build(lock_of(few_wheels), put_base(layout), builder.tools(layout))
    tag = f"sha256-{image.digest[7:23]}"
    source, target = f"oci:{tmp_path}/layout:ns/env:{tag}", f"dir:{tmp_path}/copied"
    copied = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", source, target],
        capture_output=True,
        text=True,
        check=False,
    )
    assert copied.returncode == 0, copied.stderr
    manifest = (tmp_path / "copied/manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == image.digest


def test_one_more_package_changes_its_bucket_the_record_config_and_manifest_alone(
    builder: Any,
    registry: Registry,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    wheel_factory: WheelFactory,
) -> None:
    with RegistryStore(registry.host) as store:
        base, tools = put_base(store, "more/tiny"), builder.tools(store)
        first, _ = builder.build(lock_of(few_wheels), base, tools, "more/env")
        more = wheel_factory.wheel("one-more")
        second, stats = builder.build(lock_of([*few_wheels, more]), base, tools, "more/env")
        before = [layer.descriptor.digest for layer in first.layers]
        after = [layer.descriptor.digest for layer in second.layers]
        new = [layer for layer in second.layers if layer.descriptor.digest not in before]
        assert len(new) == 2, "its bucket and the record"
        assert after[: len(base.layers) + 3] == before[: len(base.layers) + 3], (
            "base and large ones"
        )
        assert stats.layers_new == 1
        config = manifest_of(store, second, "more/env")["config"]["size"]
        manifest = len(store.manifest("more/env", second.digest).data)  # type: ignore[union-attr]
        moved = sum(layer.descriptor.size_bytes for layer in new) + config + manifest
        assert stats.bytes_moved == moved
        assert stats.bytes_downloaded == more.stat().st_size


def test_the_same_lock_is_the_same_digest_in_another_store_from_a_fresh_cache_in_any_order(
    builder: Any,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
    registry: Registry,
) -> None:
    lock = lock_of(few_wheels)
    first, _ = builder.build(lock, put_base(layout), builder.tools(layout))
    other = LayoutStore(tmp_path / "other")
    turned = Lock(lock.python, lock.platform, tuple(reversed(lock.wheels)), lock.text)
    second, _ = builder.build(turned, put_base(other), builder.tools(other, cache="fresh"))
    with RegistryStore(registry.host) as store:
        base = put_base(store, "order/tiny")
        third, _ = builder.build(lock, base, builder.tools(store, cache="third"), "order/env")
    assert first.digest == second.digest == third.digest


def test_building_again_moves_nothing_but_the_manifest(
    builder: Any, layout: LayoutStore, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    base, tools, lock = put_base(layout), builder.tools(layout), lock_of(few_wheels)
    first, _ = builder.build(lock, base, tools)
    second, stats = builder.build(lock, base, tools)
    assert second == first
    assert stats.layers_new == 0
    assert stats.bytes_downloaded == 0
    assert stats.bytes_moved < 20_000


def test_a_second_environment_mounts_what_the_registry_has(
    builder: Any, registry: Registry, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    with RegistryStore(registry.host) as store:
        base, tools = put_base(store, "mounts/tiny"), builder.tools(store)
        builder.build(lock_of(few_wheels), base, tools, "mounts/one")
        sizes = registry.blobs()
        image, stats = builder.build(lock_of(few_wheels), base, tools, "mounts/two")
        assert stats.layers_known == stats.layers_known + stats.layers_new
        assert stats.bytes_downloaded == 0
        assert stats.bytes_moved < 20_000
        assert registry.blobs() == sizes
        digests = [layer.descriptor.digest for layer in image.layers]
        assert store.missing("mounts/two", digests) == set()


def test_a_registry_that_lost_a_layer_gets_it_again(
    builder: Any, registry: Registry, put_base: Any, lock_of: Any, few_wheels: list[Path]
) -> None:
    with RegistryStore(registry.host) as store:
        base, tools = put_base(store, "heals/tiny"), builder.tools(store)
        lock = lock_of(few_wheels)
        first, _ = builder.build(lock, base, tools, "heals/env")
        victim = first.layers[len(base.layers) + 1].descriptor
        shutil.rmtree(registry.blob_path(victim.digest).parent)
        link = registry.root / "docker/registry/v2/repositories/heals/env/_layers/sha256"
        shutil.rmtree(link / victim.digest.removeprefix("sha256:"))
        second, stats = builder.build(lock, base, tools, "heals/env")
        assert second.digest == first.digest
        assert stats.bytes_moved >= victim.size_bytes
        assert store.missing("heals/env", [victim.digest]) == set()


def test_an_index_that_remembers_other_bytes_than_are_made_now_is_put_right(
    builder: Any,
    registry: Registry,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RegistryStore(registry.host) as store:
        base, lock = put_base(store, "stale/tiny"), lock_of(few_wheels)
        index = MemoryIndex()
        tools = builder.tools(store, index=index)
        first, _ = builder.build(lock, base, tools, "stale/env")
        from builder import layered

        plan = layered.planned_layers(lock, base, tools)
        gone = base.layers[0].__class__(
            plan[0].known.layer.descriptor.__class__(LAYER_TYPE, "sha256:" + "0" * 64, 5),
            "sha256:" + "1" * 64,
        )
        index.record([(plan[0].key, gone)], store.name, "stale/elsewhere")
        second, _ = builder.build(lock, base, tools, "stale/env")
        third, _ = builder.build(lock, base, tools, "stale/third")
        assert first.digest == second.digest == third.digest


def test_an_environment_without_packages_is_an_image_too(
    builder: Any, layout: LayoutStore, put_base: Any, lock_of: Any
) -> None:
    image, stats = builder.build(lock_of([]), put_base(layout), builder.tools(layout))
    assert len(image.layers) == 3
    assert stats.packages == 0


def test_an_image_never_has_more_than_127_layers(
    builder: Any,
    layout: LayoutStore,
    put_base: Callable[..., Any],
    lock_of: Any,
    few_wheels: list[Path],
) -> None:
    image, _ = builder.build(
        lock_of(few_wheels), put_base(layout, layers=93), builder.tools(layout)
    )
    assert len(image.layers) <= 127


def test_a_large_build_splices_in_processes_and_makes_the_same_image(
    builder: Any,
    few_wheels: list[Path],
    lock_of: Any,
    put_base: Any,
    layout: LayoutStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder.compiler = None
    lock = lock_of(few_wheels)
    base = put_base(layout)
    small, _ = builder.build(lock, base, builder.tools(layout, cache="small"))
    begun = []
    start = splicers._start
    monkeypatch.setattr(splicers, "_start", lambda: begun.append(start()) or begun[-1])
    monkeypatch.setattr(splicers, "WORTH_BYTES", 1)
    large, _ = builder.build(lock, base, builder.tools(layout, cache="large"))
    assert large.digest == small.digest
    assert begun
    assert all(process.returncode is not None for process in begun)
