"""An image that somebody made to hurt is refused in bounded memory, with one sentence."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc

import pytest

from builder.bases.facts import Telling
from builder.bases.introspect import introspect
from builder.bases.layertar import Budget, Limits, entries
from builder.bases.tree import Tree
from builder.errors import BuildError, InvalidSpecError, TooLargeError
from builder.model import Platform

from .conftest import Entry, Images, link, tar, zstd
from .test_introspect import BASE, look

ONE = ["sha256:" + "0" * 64]


def look_within(images: Images, limits: Limits) -> None:
    introspect(images.store, images.repo, "latest", name="some", platform=Platform(), limits=limits)


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "usr/../../etc/passwd", "/../etc/passwd", "a/" * 300 + "b"]
)
def test_names_that_leave_the_image_are_refused(images: Images, name: str) -> None:
    images.push([*BASE, Entry(name)])
    with pytest.raises(InvalidSpecError, match="holds the file name"):
        look(images)


def test_links_that_leave_the_image_stay_inside_it(images: Images) -> None:
    images.push([*BASE, link("etc/passwd", "../../../../../../../../../etc/passwd")])
    assert look(images).passwd == ""


def test_links_in_a_circle_lead_nowhere(images: Images) -> None:
    circle = [link("opt/a", "b"), link("opt/b", "a"), Entry("opt/a/python3.11", b"\x003.11.0\0")]
    images.push(BASE, circle, Env=["PATH=/opt/a:/opt/b:/usr/bin"])
    assert look(images).python.path == "/usr/bin/python3.11"


def test_links_that_grow_a_path_without_end_are_refused(images: Images) -> None:
    deep = "/".join("d" * 200)
    steps = [link(f"l{i}", f"l{i - 1}/{deep}" if i else deep) for i in range(6)]
    images.push([*steps, Entry(f"l5/{deep}/python3.11", b"\x003.11.0\0"), *BASE])
    with pytest.raises(InvalidSpecError, match="folders too deep"):
        look(images)


def test_a_bomb_is_read_in_little_memory() -> None:
    bomb = gzip.compress(tar([Entry("usr/bin/python3.11", bytes(200 << 20)), *BASE]), 9)
    assert len(bomb) < 1 << 20
    tree = Tree(Telling())
    tracemalloc.start()
    try:
        tree.apply(entries(iter([bomb]), Budget(Limits())))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert tree.read("usr", "bin", "python3.11") == b"3.11.9"


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_bomb_ends_at_the_limit(images: Images, pack) -> None:
    images.push([Entry("opt/zeros", bytes(64 << 20)), *BASE], pack=pack)
    with pytest.raises(TooLargeError, match="unpacks to more than"):
        look_within(images, Limits(size_bytes=16 << 20))


def test_the_limit_is_over_all_layers(images: Images) -> None:
    layers = [[Entry(f"opt/{i}", bytes(8 << 20))] for i in range(4)]
    images.push(BASE, *layers)
    look_within(images, Limits(size_bytes=64 << 20))
    with pytest.raises(TooLargeError):
        look_within(images, Limits(size_bytes=24 << 20))


def test_too_many_entries_end_at_the_limit(images: Images) -> None:
    images.push([*BASE, *(Entry(f"opt/{i}") for i in range(2000))])
    look_within(images, Limits(entries=3000))
    with pytest.raises(TooLargeError, match="more than 1,000 files"):
        look_within(images, Limits(entries=1000))


def test_a_giant_header_is_not_read(images: Images) -> None:
    """A pax header says how long it is, and a reader holds all of it."""
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1 << 33
    block = header.tobuf(tarfile.GNU_FORMAT)
    images.push(gzip.compress(block + bytes(4 << 20)), diff_ids=ONE)
    with pytest.raises(TooLargeError, match="giant header"):
        look(images)


def test_a_giant_passwd_is_refused(images: Images) -> None:
    images.push([*BASE, Entry("etc/passwd", b"x" * (2 << 20))])
    with pytest.raises(TooLargeError, match="/etc/passwd of the image is larger than 1 MiB"):
        look(images)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_broken_off_layer_is_said_to_be_damaged(images: Images, pack) -> None:
    whole = pack(tar([*BASE, Entry("opt/x", bytes(range(256)) * 4000)]))
    images.push(whole[: len(whole) // 2], diff_ids=ONE)
    with pytest.raises(InvalidSpecError, match="is damaged"):
        look(images)


@pytest.mark.parametrize("blob", [b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd!", b"no tar" * 999])
def test_what_is_no_tar_is_refused(images: Images, blob: bytes) -> None:
    images.push(blob, diff_ids=ONE)
    with pytest.raises(InvalidSpecError):
        look(images)


def test_too_many_layers_leave_no_room(images: Images) -> None:
    images.push(*([Entry(f"opt/{i}")] for i in range(127)))
    with pytest.raises(TooLargeError, match="127 layers"):
        look(images)


@pytest.mark.parametrize("config", [b"[]", b"{", b"[" * 100_000, b'{"rootfs": 7}', b"\xff"])
def test_a_config_that_is_none_is_one_sentence(images: Images, config: bytes) -> None:
    layer = images.put("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(tar(BASE)))
    described = images.put("application/vnd.oci.image.config.v1+json", config)
    manifest = {"schemaVersion": 2, "config": described, "layers": [layer]}
    images.publish("application/vnd.oci.image.manifest.v1+json", manifest, "latest")
    with pytest.raises(BuildError) as caught:
        look(images)
    assert type(caught.value) is not BuildError


def test_a_layer_is_read_as_it_comes_from_the_network() -> None:
    blob = gzip.compress(tar(BASE))
    chunks = (blob[i : i + 100] for i in range(0, len(blob), 100))
    found = {info.name: content.read(4) for info, content in entries(chunks, Budget(Limits()))}
    assert found["usr/bin/python3.11"] == b"\x7fELF"
