"""Zstandard layers: the same tars as gzip ones, the same bytes everywhere, read by others."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.registry import Registry

from builder import layered, rebase, stored, verify
from builder.errors import BuildError
from builder.layers import zst
from builder.layers.ahead import Ahead
from builder.layers.archive import LayerWriter, Written
from builder.layers.cache import LAYOUT
from builder.model import LAYER_TYPE, ZSTD_LAYER_TYPE, Compression, Image
from builder.stores.layout import LayoutStore
from builder.stores.registry import RegistryStore

Tools = Callable[..., layered.Tools]


@pytest.fixture
def zstd_tools(builder: Any) -> Tools:
    """Tools that pack as Zstandard: `zstd_tools(store, …)`."""

    def make(store: Any, **options: Any) -> layered.Tools:
        tools: layered.Tools = builder.tools(store, **options)
        return dataclasses.replace(tools, compression=Compression.ZSTD)

    return make


def inflated(data: bytes) -> bytes:
    """By the program, which is another maker's than the library that packed it."""
    if shutil.which("zstd") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("`apt-get install zstd` brings zstd")
    return subprocess.run(["zstd", "-dqc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def packages(image: Image) -> list[Any]:
    """The layers between the base of one layer with the skeleton, and the record."""
    return list(image.layers[2:-1])


def test_the_layers_hold_the_same_tars_and_the_rest_of_the_image_is_as_ever(
    builder: Any,
    zstd_tools: Tools,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
) -> None:
    base, lock = put_base(layout), lock_of(few_wheels)
    gzipped, _ = builder.build(lock, base, builder.tools(layout))
    image, stats = builder.build(lock, base, zstd_tools(layout))
    assert stats.layers_known == 0, "another packing is another key"
    assert stats.bytes_downloaded == 0, "what was spliced before is packed again"
    assert [layer.diff_id for layer in image.layers[:-1]] == [
        layer.diff_id for layer in gzipped.layers[:-1]
    ]
    assert image.layers[:2] == gzipped.layers[:2], "base and skeleton"
    assert image.layers[-1] == gzipped.layers[-1], "the record"
    for layer in packages(image):
        data = b"".join(layout.blob("ns/env", layer.descriptor.digest))
        assert layer.descriptor.media_type == ZSTD_LAYER_TYPE
        assert len(data) == layer.descriptor.size_bytes
        plain = inflated(data)
        assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            assert archive.getnames()[0] == "opt"
    found = layout.manifest("ns/env", image.digest)
    assert found is not None
    types = [layer["mediaType"] for layer in json.loads(found.data)["layers"]]
    assert types == [LAYER_TYPE] * 2 + [ZSTD_LAYER_TYPE] * len(packages(image)) + [LAYER_TYPE]
    again, _ = builder.build(lock, base, zstd_tools(layout, cache="fresh"))
    assert again == image


def test_what_is_packed_is_known_moved_once_and_mounted_elsewhere(
    builder: Any,
    zstd_tools: Tools,
    registry: Registry,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
) -> None:
    with RegistryStore(registry.host) as store:
        base, tools, lock = put_base(store, "zstd/tiny"), zstd_tools(store), lock_of(few_wheels)
        first, _ = builder.build(lock, base, tools, "zstd/one")
        blobs = registry.blobs()
        second, stats = builder.build(lock, base, tools, "zstd/two")
        assert second.digest == first.digest
        assert (stats.layers_new, stats.bytes_downloaded) == (0, 0)
        assert stats.bytes_moved < 20_000
        assert registry.blobs() == blobs


def test_an_image_is_verified_and_rebased_with_its_packing(
    builder: Any,
    zstd_tools: Tools,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    base, lock, tools = put_base(layout), lock_of(few_wheels), builder.tools(layout)
    image, _ = builder.build(lock, base, zstd_tools(layout))
    found = stored.read(layout, "ns/env", image.digest)
    assert (found.packer, found.compression) == (zst.PACKER, Compression.ZSTD)
    verdict = verify.verify(found, lock, base, "ns/env", tools, tmp_path / "verify")
    assert verdict == verify.Verdict(True, image.digest, image.digest, ())
    new = dataclasses.replace(put_base(layout, "bases/new", layers=2), name="new")
    moved = rebase.rebase(found, lock, base, new, "ns/env", layout)
    built, _ = builder.build(lock, new, zstd_tools(layout), "ns/other")
    assert moved.digest == built.digest
    assert packages(image) == list(moved.layers[3:-1])


def test_the_files_that_differ_are_found_inside_zstandard(
    builder: Any,
    zstd_tools: Tools,
    layout: LayoutStore,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    tmp_path: Path,
) -> None:
    base, lock = put_base(layout), lock_of(few_wheels)
    plain = dataclasses.replace(zstd_tools(layout, cache="plain"), compiler=None)
    image, _ = builder.build(lock, base, plain)
    found = stored.read(layout, "ns/env", image.digest)
    verdict = verify.verify(found, lock, base, "ns/env", zstd_tools(layout), tmp_path / "v")
    assert not verdict.equal
    assert any(name.endswith(".pyc") for item in verdict.layers for name in item.files)


@pytest.mark.rig
def test_skopeo_copies_it_and_containerd_unpacks_it(
    builder: Any,
    zstd_tools: Tools,
    registry: Registry,
    put_base: Any,
    lock_of: Any,
    few_wheels: list[Path],
    docker_engine: Any,
    tmp_path: Path,
) -> None:
    with RegistryStore(registry.host) as store:
        base, lock = put_base(store, "read/tiny"), lock_of(few_wheels)
        image, _ = builder.build(lock, base, zstd_tools(store), "read/env")
    if shutil.which("skopeo") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("skopeo is not installed")
    copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]
    source, target = f"docker://{image.reference}", f"oci:{tmp_path / 'copied'}:x"
    subprocess.run([*copy, source, target], check=True, capture_output=True)
    index = json.loads((tmp_path / "copied/index.json").read_bytes())
    assert index["manifests"][0]["digest"] == image.digest
    docker_engine.ctr("images", "pull", "--plain-http", image.reference)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    docker_engine.ctr("images", "mount", image.reference, str(mounted))
    try:
        site = next((mounted / "opt/env/lib").glob("python3.*")) / "site-packages"
        modules = sorted(path.name for path in site.iterdir() if "dist-info" not in path.name)
        assert modules == ["large_a", "large_b", *(f"small_{n}" for n in range(10))]
        expected = hashlib.shake_256(b"large-a").digest(1_500_000)
        assert (site / "large_a/data.bin").read_bytes() == expected
        owner = (site / "small_0/__init__.py").stat()
        assert (owner.st_uid, owner.st_gid) == (1000, 100)
    finally:
        docker_engine.ctr("images", "unmount", str(mounted))


def gzip_layer(files: dict[str, bytes]) -> tuple[bytes, Written]:
    out = io.BytesIO()
    writer = LayerWriter(out)
    writer.mark()
    for path, data in files.items():
        writer.file(path, data)
    writer.mark()
    made = writer.finish()
    return out.getvalue(), made


def packed(data: bytes, made: Written, threads: int, most_bytes: int) -> bytes:
    out, ahead = io.BytesIO(), Ahead(most_bytes)
    with ThreadPoolExecutor(threads) as executor:
        written = zst.repack(out, io.BytesIO(data), made, executor, ahead)
        assert (written.diff_id, written.plain_bytes) == (made.diff_id, made.plain_bytes)
    assert not ahead._bytes
    assert written.digest == f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    assert written.size_bytes == len(out.getvalue())
    return out.getvalue()


GOLDEN_LAYOUT = 4
GOLDEN = ("zstd-1.5.7", "0ea525241d4937f88254c9c9f195973a0cc68f600c911dd6aeb9e9cf42852475")


def test_neither_threads_nor_limits_change_a_byte_and_the_bytes_are_known() -> None:
    """Where the last line fails, the library packs otherwise: raise cache.LAYOUT."""
    rng = random.Random(1)
    words = [rng.randbytes(6).hex() for _ in range(500)]
    text = " ".join(rng.choices(words, k=800_000)).encode()
    data, made = gzip_layer({"a/text": text, "a/none": b"", "b/noise": rng.randbytes(5 << 20)})
    assert made.plain_bytes > 3 * zst.FRAME_BYTES
    first = packed(data, made, 1, 0)
    assert first == packed(data, made, 4, zst.AHEAD_BYTES) == packed(data, made, 2, 1)
    assert f"sha256:{hashlib.sha256(inflated(first)).hexdigest()}" == made.diff_id
    assert zst.reader(io.BytesIO(first)).read() == inflated(first)
    known = (LAYOUT, zst.PACKER, hashlib.sha256(first).hexdigest())
    assert known == (GOLDEN_LAYOUT, *GOLDEN)


def test_a_large_layer_is_packed_piece_by_piece() -> None:
    """However far the threads are behind, no more than the limit is ahead of what is written."""
    data, made = gzip_layer({f"zeros-{n}": bytes(8 << 20) for n in range(20)})
    limit, most = 5 * zst.FRAME_BYTES, 0
    ahead = Ahead(limit)

    class Out(io.BytesIO):
        def write(self, frame: Any) -> int:
            nonlocal most
            most = max(most, ahead._bytes)
            return len(frame)

    with ThreadPoolExecutor(1) as executor:
        zst.repack(Out(), io.BytesIO(data), made, executor, ahead)
    assert 0 < most <= limit + zst.FRAME_BYTES


def test_a_spliced_layer_that_was_damaged_in_the_cache_is_noticed() -> None:
    data, made = gzip_layer({"a": bytes(range(256)) * 9000})
    torn = bytearray(data)
    torn[len(torn) // 2] ^= 0x55
    with ThreadPoolExecutor(1) as executor:
        for bad in (bytes(torn), data[: made.body_end], data[: len(data) // 2], b""):
            with pytest.raises(BuildError, match="delete it and build again"):
                zst.repack(io.BytesIO(), io.BytesIO(bad), made, executor, Ahead(1 << 30))
