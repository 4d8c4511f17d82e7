"""An image moves between stores bit for bit, and only what is missing moves."""

from __future__ import annotations

import hashlib
import json

import pytest

from builder.errors import BaseNotFoundError, StoreUnreachableError
from builder.model import INDEX_TYPE, Platform
from builder.stores.copy import copy_image
from builder.stores.layout import LayoutStore
from builder.stores.protocol import Manifest

pytestmark = pytest.mark.rig


@pytest.fixture
def layout(tmp_path):
    return LayoutStore(tmp_path / "layout")


def put_index(store, repo, children, *tags):
    entries = [
        {
            "mediaType": child.media_type,
            "digest": child.digest,
            "size": len(child.data),
            "platform": {"os": "linux", "architecture": arch},
        }
        for arch, child in children.items()
    ]
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    index = Manifest(INDEX_TYPE, f"sha256:{hashlib.sha256(data).hexdigest()}", data)
    store.put_manifest(repo, index, tags=tags)
    return index


def test_an_image_goes_from_a_registry_to_a_layout_and_back(
    registry, layout, make_store, make_blob, push_image
):
    store, layers = make_store(registry.host), [make_blob(3_000_000), make_blob(10), make_blob(0)]
    pushed = push_image(store, "copy/from", layers, "v1")
    assert copy_image(store, "copy/from", "v1", layout, "there", tags=["v1"]) == pushed
    assert copy_image(layout, "there", pushed.digest, store, "copy/back", tags=["v2"]) == pushed
    assert store.manifest("copy/back", "v2") == pushed
    for layer in layers:
        assert b"".join(store.blob("copy/back", layer.digest)) == layer.data


def test_inside_one_registry_blobs_are_mounted(
    registry, make_front, make_store, make_blob, push_image
):
    front = make_front(registry.port)
    store = make_store(front.host)
    pushed = push_image(store, "copy/mine", [make_blob(1000), make_blob(2000)], "v1")
    front.asked.clear()
    copy_image(store, "copy/mine", "v1", store, "copy/mounted")
    assert front.count("PUT") == 1
    assert not any(a.method == "GET" and "/blobs/" in a.path for a in front.asked)
    assert store.manifest("copy/mounted", pushed.digest) == pushed


def test_what_is_there_does_not_move_again(
    registry, layout, make_front, make_store, make_blob, push_image
):
    front = make_front(registry.port)
    store = make_store(front.host)
    push_image(store, "copy/again", [make_blob(1000)], "v1")
    copy_image(store, "copy/again", "v1", layout, "there")
    front.asked.clear()
    copy_image(store, "copy/again", "v1", layout, "elsewhere", tags=["v1"])
    assert [asked.method for asked in front.asked] == ["GET"]


def test_an_index_is_copied_whole_or_one_platform_of_it(
    registry, tmp_path, make_store, make_blob, push_image
):
    store = make_store(registry.host)
    children = {
        arch: push_image(store, "copy/multi", [make_blob(100)], arch=arch)
        for arch in ("amd64", "arm64")
    }
    index = put_index(store, "copy/multi", children, "v1")
    whole, one = LayoutStore(tmp_path / "whole"), LayoutStore(tmp_path / "one")
    assert copy_image(store, "copy/multi", "v1", whole, "multi", tags=["v1"]) == index
    for child in children.values():
        assert whole.manifest("multi", child.digest) == child
    arm = Platform("linux", "arm64")
    assert copy_image(store, "copy/multi", "v1", one, "multi", platform=arm) == children["arm64"]
    assert one.manifest("multi", children["amd64"].digest) is None
    with pytest.raises(
        BaseNotFoundError, match="no image for linux/s390x, only linux/amd64, linux"
    ):
        copy_image(store, "copy/multi", "v1", one, "multi", platform=Platform("linux", "s390x"))


def test_an_image_that_is_not_there_is_one_sentence(registry, layout, make_store):
    store = make_store(registry.host)
    with pytest.raises(BaseNotFoundError, match=f"{registry.host} has no image copy/none:v1"):
        copy_image(store, "copy/none", "v1", layout, "there")


def test_a_source_that_sends_other_bytes_publishes_nothing(
    registry, layout, make_front, make_store, make_blob, push_image
):
    front, layer = make_front(registry.port), make_blob(1000)
    pushed = push_image(make_store(registry.host), "copy/liar", [layer], "v1")
    front.change = lambda asked, answer: (
        front.answer(200, b"x" * 1000) if layer.digest in asked.path else answer
    )
    with pytest.raises(StoreUnreachableError, match="sent other bytes"):
        copy_image(make_store(front.host), "copy/liar", "v1", layout, "there", tags=["v1"])
    assert layout.manifest("there", "v1") is None
    assert layout.manifest("there", pushed.digest) is None
    assert layout.missing("there", [layer.digest]) == {layer.digest}


def test_a_large_layer_is_downloaded_once_though_it_goes_in_chunks(
    registry, make_registry, make_front, make_store, make_blob, push_image
):
    front, layer = make_front(registry.port), make_blob(1_000_000)
    source = make_store(front.host)
    pushed = push_image(source, "copy/large", [layer], "v1")
    front.asked.clear()
    target = make_store(make_registry().host, chunk_bytes=200_000)
    copy_image(source, "copy/large", "v1", target, "copy/large")
    assert sum(a.method == "GET" and layer.digest in a.path for a in front.asked) == 1
    assert target.manifest("copy/large", pushed.digest) == pushed
