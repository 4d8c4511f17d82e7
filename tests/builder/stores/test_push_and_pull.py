"""What goes into a registry comes out of it, with as few requests and bytes as it takes."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from rig.registry import Registry

from builder.errors import (
    BlobsLostError,
    BuildError,
    InvalidSpecError,
    StoreRefusedError,
    StoreUnreachableError,
)
from builder.model import INDEX_TYPE, Descriptor
from builder.stores.protocol import Manifest
from builder.stores.registry import RegistryStore

pytestmark = pytest.mark.rig
NOWHERE = f"sha256:{'0' * 64}"


def test_an_image_comes_out_as_it_went_in(registry: Registry, make_store, make_blob, push_image):
    store = make_store(registry.host)
    layers = [make_blob(10), make_blob(700_000), make_blob(0)]
    pushed = push_image(store, "stores/round-trip", layers, "v1", "latest")
    for reference in ("v1", "latest", pushed.digest):
        assert store.manifest("stores/round-trip", reference) == pushed
    for layer in layers:
        assert b"".join(store.blob("stores/round-trip", layer.digest)) == layer.data
    assert store.reference("stores/round-trip", pushed.digest) == (
        f"{registry.host}/stores/round-trip@{pushed.digest}"
    )


def test_chunks_are_at_most_one_mebibyte(registry, make_store, make_blob):
    store, blob = make_store(registry.host), make_blob(5_000_000)
    store.put_blob("stores/chunks", blob.descriptor, blob.open)
    assert max(len(chunk) for chunk in store.blob("stores/chunks", blob.digest)) <= 1 << 20


def test_what_is_not_there_is_none_or_not_found(registry, make_store):
    store = make_store(registry.host)
    assert store.manifest("stores/nothing", "v1") is None
    assert store.manifest("stores/nothing", NOWHERE) is None
    with pytest.raises(FileNotFoundError):
        next(store.blob("stores/nothing", NOWHERE))


def test_only_what_is_missing_is_named(registry, make_store, make_blob):
    store = make_store(registry.host)
    held = [make_blob(100) for _ in range(20)]
    for blob in held:
        store.put_blob("stores/missing", blob.descriptor, blob.open)
    absent = {f"sha256:{hashlib.sha256(bytes([n])).hexdigest()}" for n in range(80)}
    assert store.missing("stores/missing", [*absent, *(b.digest for b in held)]) == absent
    assert store.missing("stores/missing", []) == set()


def test_a_blob_that_is_there_is_neither_opened_nor_moved(registry, make_store, make_blob):
    store, blob = make_store(registry.host), make_blob(1000)
    assert store.put_blob("stores/twice", blob.descriptor, blob.open).moved_bytes == 1000
    assert store.put_blob("stores/twice", blob.descriptor, blob.open).moved_bytes == 0
    assert len(blob.opened) == 1


def test_a_blob_of_another_repository_is_mounted_by_one_request(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)
    store = make_store(front.host)
    store.put_blob("stores/from", blob.descriptor, blob.open)
    front.asked.clear()
    put = store.put_blob("stores/to", blob.descriptor, blob.open, mount_from="stores/from")
    assert put.moved_bytes == 0
    assert [asked.method for asked in front.asked] == ["POST"]
    assert len(blob.opened) == 1
    assert b"".join(store.blob("stores/to", blob.digest)) == blob.data


def test_a_mount_from_where_it_is_not_moves_the_bytes(registry, make_store, make_blob):
    store, blob = make_store(registry.host), make_blob(1000)
    put = store.put_blob("stores/to", blob.descriptor, blob.open, mount_from="stores/empty")
    assert put.moved_bytes == 1000
    assert b"".join(store.blob("stores/to", blob.digest)) == blob.data


def test_a_mount_of_what_is_there_leaves_no_upload_open(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)
    store = make_store(front.host)
    store.put_blob("stores/there", blob.descriptor, blob.open)
    put = store.put_blob("stores/there", blob.descriptor, blob.open, mount_from="stores/empty")
    assert put.moved_bytes == 0
    assert front.count("DELETE") == 1


def test_one_more_package_takes_two_requests_after_missing(
    registry, make_front, make_store, make_blob
):
    front, blob = make_front(registry.port), make_blob(1000)
    store = make_store(front.host)
    assert store.missing("stores/few", [blob.digest]) == {blob.digest}
    front.asked.clear()
    store.put_blob("stores/few", blob.descriptor, blob.open)
    assert [asked.method for asked in front.asked] == ["POST", "PUT"]


def test_connections_are_kept_alive(registry, make_proxy, make_store, make_blob):
    proxy = make_proxy(registry.port)
    store = make_store(proxy.host)
    for _ in range(10):
        blob = make_blob(1000)
        store.put_blob("stores/alive", blob.descriptor, blob.open)
        assert b"".join(store.blob("stores/alive", blob.digest)) == blob.data
        assert store.manifest("stores/alive", "none") is None
    assert proxy.connections == 1


def test_a_large_blob_goes_in_chunks(registry, make_front, make_store, make_blob):
    front, blob = make_front(registry.port), make_blob(1_000_001)
    store = make_store(front.host, chunk_bytes=250_000)
    assert store.put_blob("stores/chunked", blob.descriptor, blob.open).moved_bytes == 1_000_001
    ranges = [a.headers["content-range"] for a in front.asked if a.method == "PATCH"]
    assert ranges == [
        "0-249999",
        "250000-499999",
        "500000-749999",
        "750000-999999",
        "1000000-1000000",
    ]
    assert len(blob.opened) == 1
    assert b"".join(store.blob("stores/chunked", blob.digest)) == blob.data


def test_many_threads_share_a_store(registry, make_store, make_blob):
    store = make_store(registry.host, chunk_bytes=40_000)
    blobs = [make_blob(size) for size in range(1, 100_000, 2500)]

    def put_and_get(blob):
        store.put_blob("stores/threads", blob.descriptor, blob.open)
        return b"".join(store.blob("stores/threads", blob.digest)) == blob.data

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(put_and_get, blobs))


def test_bytes_that_do_not_hash_to_their_name_are_not_held(registry, make_store, make_blob):
    store, blob, other = make_store(registry.host), make_blob(1000), make_blob(1000)
    for chunk_bytes in (10_000, 300):
        store = make_store(registry.host, chunk_bytes=chunk_bytes)
        with pytest.raises(BuildError, match="do not hash to their name"):
            store.put_blob("stores/lie", blob.descriptor, other.open)
    assert store.missing("stores/lie", [blob.digest]) == {blob.digest}


def test_bytes_that_end_early_are_not_held(registry, make_store, make_blob):
    store, blob = make_store(registry.host), make_blob(1000)
    longer = Descriptor(blob.media_type, blob.digest, 2000)
    with pytest.raises(BuildError, match="end 1000 bytes early"):
        store.put_blob("stores/short", longer, blob.open)
    assert store.missing("stores/short", [blob.digest]) == {blob.digest}


def test_a_manifest_whose_blobs_are_not_held_is_refused_and_they_are_named(
    registry, make_store, make_blob, push_image
):
    there, elsewhere = make_store(registry.host), "stores/incomplete"
    manifest = push_image(there, "stores/complete", [make_blob(10)])
    with pytest.raises(BlobsLostError, match=f"{registry.host}/{elsewhere} does not") as caught:
        there.put_manifest(elsewhere, manifest, tags=["v1"])
    said = json.loads(manifest.data)
    assert caught.value.digests == {said["config"]["digest"], said["layers"][0]["digest"]}
    assert there.manifest(elsewhere, "v1") is None


def test_an_index_is_a_manifest_too(registry, make_store, make_blob, push_image):
    store = make_store(registry.host)
    child = push_image(store, "stores/index", [make_blob(10)])
    entry = {"mediaType": child.media_type, "digest": child.digest, "size": len(child.data)}
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).encode()
    index = Manifest(INDEX_TYPE, f"sha256:{hashlib.sha256(data).hexdigest()}", data)
    store.put_manifest("stores/index", index, tags=["multi"])
    assert store.manifest("stores/index", "multi") == index


def test_a_prefix_is_part_of_every_name(registry, make_store, make_blob, push_image):
    store = make_store(registry.host, prefix="team/kitbag")
    pushed = push_image(store, "hep/3dgan", [make_blob(10)], "v1")
    assert store.name == f"{registry.host}/team/kitbag"
    assert store.reference("hep/3dgan", pushed.digest) == (
        f"{registry.host}/team/kitbag/hep/3dgan@{pushed.digest}"
    )
    assert make_store(registry.host).manifest("team/kitbag/hep/3dgan", "v1") == pushed


@pytest.mark.parametrize(
    ("repo", "reference"),
    [
        ("../etc", "v1"),
        ("Upper", "v1"),
        ("a//b", "v1"),
        ("a?b", "v1"),
        ("a" * 256, "v1"),
        ("ok", "../x"),
        ("ok", "v1\r\nX: y"),
        ("ok", "sha256:12"),
    ],
)
def test_names_that_could_leave_their_place_in_a_url_are_refused(repo, reference):
    with (
        RegistryStore("127.0.0.1:1") as store,
        pytest.raises(InvalidSpecError, match="is not a"),
    ):
        store.manifest(repo, reference)


@pytest.mark.parametrize("kept", [b"", b'{"schemaVersion": 2, "lay'])
def test_a_manifest_that_the_registry_keeps_damaged_is_not_said_to_be_there(
    registry: Registry, make_store, make_blob, push_image, kept
):
    """As one is left whose registry was killed while it wrote it."""
    store = make_store(registry.host)
    repo = f"stores/damaged-{len(kept)}"
    image = push_image(store, repo, [make_blob(100 + len(kept))])
    registry.blob_path(image.digest).write_bytes(kept)
    with pytest.raises((StoreRefusedError, StoreUnreachableError)) as raised:
        store.put_manifest(repo, image, tags=["again"])
    assert registry.host in raised.value.detail
