"""What is deleted is gone, with what only it needed, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rig.registry import Registry

from builder.errors import BlobsLostError, NoDeletesError, StoreRefusedError
from builder.model import INDEX_TYPE, MANIFEST_TYPE
from builder.stores.credentials import DockerConfig
from builder.stores.layout import LayoutStore
from builder.stores.names import digest_of
from builder.stores.protocol import Manifest, Store

pytestmark = pytest.mark.rig
NOWHERE = f"sha256:{'0' * 64}"


@pytest.fixture(params=["layout", "registry"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind of store in turn."""
    if request.param == "layout":
        return LayoutStore(tmp_path / "layout")
    registry: Registry = request.getfixturevalue("registry")
    made: Store = request.getfixturevalue("make_store")(registry.host, prefix="deleted")
    return made


@pytest.fixture
def layout(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "layout")


def blobs(layout: LayoutStore) -> set[str]:
    return {f"sha256:{path.name}" for path in (layout.root / "blobs/sha256").iterdir()}


def test_a_deleted_image_is_gone_with_all_its_tags(store, make_blob, push_image):
    gone = push_image(store, "del/one", [make_blob(10)], "v1", "latest")
    kept = push_image(store, "del/one", [make_blob(10)], "v2")
    assert store.delete("del/one", [gone.digest, NOWHERE]) == {gone.digest}
    assert [store.manifest("del/one", name) for name in ("v1", "latest", gone.digest)] == [None] * 3
    assert store.manifest("del/one", "v2") == kept
    assert store.delete("del/one", [gone.digest]) == set()
    assert store.delete("del/never", [gone.digest]) == set()


def test_an_image_of_two_repositories_stays_in_the_other(store, make_blob, push_image):
    layer = make_blob(1000)
    pushed = push_image(store, "del/a", [layer], "v1")
    assert push_image(store, "del/b", [layer], "v1") == pushed
    store.delete("del/a", [pushed.digest])
    assert store.manifest("del/a", "v1") is None
    assert store.manifest("del/b", "v1") == pushed
    assert b"".join(store.blob("del/b", layer.digest)) == layer.data


def test_a_deleted_image_can_be_put_again(store, make_blob, push_image):
    layers = [make_blob(1000), make_blob(10)]
    pushed = push_image(store, "del/again", layers, "v1")
    store.delete("del/again", [pushed.digest])
    assert push_image(store, "del/again", layers, "v1") == pushed
    assert store.manifest("del/again", "v1") == pushed


def test_a_layout_lets_go_of_the_blobs_that_nothing_else_needs(layout, make_blob, push_image):
    shared, own, other = make_blob(1000), make_blob(1000), make_blob(1000)
    gone = push_image(layout, "a", [shared, own], "v1")
    kept = push_image(layout, "b", [shared, other], "v1")
    pending = make_blob(10)
    layout.put_blob("c", pending.descriptor, pending.open)  # of a build that goes on
    layout.delete("a", [gone.digest])
    config = json.loads(kept.data)["config"]["digest"]
    assert blobs(layout) == {shared.digest, other.digest, kept.digest, config, pending.digest}


def index_of(*images: Manifest) -> Manifest:
    listed = [
        {"mediaType": MANIFEST_TYPE, "digest": each.digest, "size": len(each.data)}
        for each in images
    ]
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}).encode()
    return Manifest(INDEX_TYPE, digest_of(data), data)


def test_an_index_goes_without_the_images_that_it_names(store, make_blob, push_image):
    images = [push_image(store, "del/index", [make_blob(10)], arch=arch) for arch in ("a", "b")]
    index = index_of(*images)
    store.put_manifest("del/index", index, tags=["both"])
    store.delete("del/index", [index.digest])
    assert store.manifest("del/index", "both") is None
    assert [store.manifest("del/index", each.digest) for each in images] == images


def test_blobs_that_only_an_image_of_an_index_needs_stay(layout, make_blob, push_image):
    layer = make_blob(10)
    image = push_image(layout, "a", [layer], "v1")
    layout.put_manifest("b", index_of(image), tags=["both"])
    layout.delete("a", [image.digest])
    assert b"".join(layout.blob("b", layer.digest)) == layer.data
    assert image.digest in blobs(layout)


def test_an_image_whose_layer_was_deleted_meanwhile_is_not_published(layout, make_blob, push_image):
    layer = make_blob(10)
    old = push_image(layout, "a", [layer], "v1")
    assert layout.missing("b", [layer.digest]) == set()  # a build looks, and counts on it
    layout.delete("a", [old.digest])
    with pytest.raises(BlobsLostError, match="build it again") as caught:
        layout.put_manifest("b", old, tags=["v1"])
    assert layer.digest in caught.value.digests
    assert layout.manifest("b", "v1") is None
    push_image(layout, "b", [layer], "v1")
    assert layout.manifest("b", "v1") == old


def test_entries_of_other_tools_are_left_alone(layout, make_blob, push_image):
    pushed = push_image(layout, "a", [make_blob(10)], "v1")
    index = layout.root / "index.json"
    whole = json.loads(index.read_text())
    whole["manifests"].append({"digest": pushed.digest, "size": 1, "mediaType": MANIFEST_TYPE})
    index.write_text(json.dumps(whole))
    layout.delete("a", [pushed.digest])
    assert json.loads(index.read_text())["manifests"] == whole["manifests"][-1:]
    assert pushed.digest in blobs(layout)


def test_a_registry_that_deletes_nothing_is_told_from_one_that_refuses(
    make_registry, make_store, make_blob, push_image
):
    store = make_store(make_registry(deletes=False).host)
    pushed = push_image(store, "del/no", [make_blob(10)], "v1")
    with pytest.raises(NoDeletesError, match="its operator must enable it"):
        store.delete("del/no", [pushed.digest])
    assert store.manifest("del/no", "v1") == pushed


def test_deleting_asks_for_the_right_to_and_without_a_login_is_refused(
    token_registry: Registry, tmp_path, make_store, make_blob, push_image
):
    config = DockerConfig(token_registry.docker_config(tmp_path))
    store = make_store(token_registry.host, credentials=config)
    pushed = push_image(store, "del/token", [make_blob(10)], "v1")
    with pytest.raises(StoreRefusedError) as caught:
        make_store(token_registry.host).delete("del/token", [pushed.digest])
    assert not isinstance(caught.value, NoDeletesError)
    assert store.delete("del/token", [pushed.digest]) == {pushed.digest}
    assert token_registry.tokens.asked[-1][1] == ["repository:del/token:delete,pull,push"]
