"""Whole manifests of every kind: in each, the images named OURS are the user's and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kitbag.specs import Change, Target, builtin, images, pin
from kitbag.specs.kinds import Form
from kitbag.specs.nodes import Node, Scalar, descend
from kitbag.specs.path import first, walk
from kitbag.specs.read import read
from kitbag.specs.source import Source

DIGEST = "registry.example.org:5000/kitbag/alice/3dgan@sha256:" + "c0ffee42" * 8
OURS = b"example.org/user/env:old"
MANIFESTS = sorted((Path(__file__).parent / "manifests").iterdir())


@pytest.fixture(params=MANIFESTS, ids=lambda path: path.name)
def manifest(request: pytest.FixtureRequest) -> bytes:
    data: bytes = request.param.read_bytes()
    assert OURS in data
    return data


def test_the_users_images_change_and_not_one_other_byte(manifest: bytes) -> None:
    pinned = pin(manifest, Target(image=DIGEST))
    assert pinned.data == manifest.replace(OURS, DIGEST.encode())
    assert {change.before.strip() for change in pinned.changes if change.before} == {OURS.decode()}


def test_pinning_twice_is_pinning_once(manifest: bytes) -> None:
    once = pin(manifest, Target(image=DIGEST)).data
    again = pin(once, Target(image=DIGEST))
    assert again.data == once
    assert again.changes == ()


def test_line_ends_a_byte_order_mark_and_a_missing_last_newline_stay(manifest: bytes) -> None:
    odd = b"\xef\xbb\xbf" + manifest.rstrip(b"\n").replace(b"\n", b"\r\n")
    assert pin(odd, Target(image=DIGEST)).data == odd.replace(OURS, DIGEST.encode())


def test_every_change_says_the_line_it_is_on(manifest: bytes) -> None:
    lines = manifest.split(b"\n")
    for change in pin(manifest, Target(image=DIGEST)).changes:
        assert OURS in lines[change.line - 1] + lines[change.line]
        assert change.after == DIGEST
        (node,) = walk_in(manifest, change)
        assert node.text
        assert node.text.strip() == OURS.decode()


def test_what_is_listed_is_what_is_pinned(manifest: bytes) -> None:
    listed = [
        (found.line, found.path) for found in images(manifest) if "{{" not in str(found.image)
    ]
    changed = [(change.line, change.path) for change in pin(manifest, Target(image=DIGEST)).changes]
    assert listed == changed


def test_what_the_reader_leaves_out_makes_no_difference(manifest: bytes) -> None:
    source = Source(manifest)
    everything = texts_of(read(source))
    needed = texts_of(read(source, builtin().keep))
    assert len(needed) <= len(everything)
    if not manifest.startswith(b"{"):
        mark = b"# kitbag: this word makes the reader keep every value\n"
        target = Target(image=DIGEST)
        assert pin(mark + manifest, target).data == mark + pin(manifest, target).data


def walk_in(manifest: bytes, change: Change) -> list[Scalar]:
    """What the path of a change leads to, in the text that its `|` says it is in."""
    outer, *inner = change.path.split("|")
    root = read(Source(manifest))[change.document]
    for path in inner:
        node = first(root, outer)
        assert isinstance(node, Scalar)
        said = yaml.safe_load(manifest[node.start : node.end])
        manifest = said.encode() if isinstance(said, str) else b""
        (root,) = read(Source(manifest))
        outer = path
    return [hit.real for hit in walk(root, outer) if isinstance(hit.real, Scalar)]


def test_every_kind_of_the_design_has_a_manifest_here() -> None:
    pinned = {
        change.kind
        for path in MANIFESTS
        for change in pin(path.read_bytes(), Target(image=DIGEST)).changes
    }
    elsewhere = {"Kale notebook", "JupyterHub values", "Jupyter web app", "Elyra pipeline"}
    elsewhere |= {"Elyra runtime image", "Kustomization"}
    for row in builtin().rows:
        # What holds other objects is reported by their names.
        if any(place.form not in (Form.OBJECT, Form.TEXT) for place in row.places):
            assert (row.kinds or {row.name}) & (pinned | elsewhere), row.name


def texts_of(roots: list[Node]) -> list[str | None]:
    return [node.text for root in roots for node in descend(root) if isinstance(node, Scalar)]


def test_values_that_nobody_asks_for_are_left_out() -> None:
    data = b"a:\n  b: [1, 2, 3]\n  c: {d: e}\nkind: Pod\n"
    assert len(texts_of(read(Source(data)))) == 5
    assert len(texts_of(read(Source(data), builtin().keep))) == 2
    assert len(texts_of(read(Source(data + b"x: kitbag://a/b\n"), builtin().keep))) == 6
    assert len(texts_of(read(Source(b"y: &y z\nx: *y\n" + data), builtin().keep))) == 6
