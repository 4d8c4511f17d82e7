"""Manifests inside strings are pinned there, exactly, or named where that can't be done."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import Registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kitbag.specs import AmbiguousContainerError, SharedImageError, Target, WriteError, images, pin
from kitbag.specs.embedded import Embedded
from kitbag.specs.nodes import Mapping, Scalar
from kitbag.specs.read import read
from kitbag.specs.source import Source

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n"
POD = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: old\n"


def manifest(text: str) -> bytes:
    """A Workflow with a resource template whose manifest is this, as a literal block."""
    body = "".join(f"        {line}" for line in text.splitlines(True))
    return f"{HEAD}  templates:\n  - resource:\n      manifest: |\n{body}".encode()


@pytest.mark.parametrize(
    "text",
    [
        POD.replace("image: old", "image: {{inputs.parameters.image}}"),
        POD.replace("name: a", "name: {{workflow.name}}-a"),
        "{{- if .x }}\n" + POD + "{{- end }}\n",
        POD.replace("image: old", "image: '{{inputs.parameters.image}}'"),
        POD + "  bad: [\n",
        POD + "    image: twice\n",
    ],
)
def test_a_text_that_something_fills_in_or_that_is_no_yaml_is_named_and_stays(
    digest: str, text: str
) -> None:
    data = manifest(text)
    pinned = pin(data, Target(image=digest))
    assert pinned.data == data
    assert len(pinned.skipped) == 1
    assert pinned.skipped[0].startswith("line ")
    assert "spec.templates[0].resource.manifest" in pinned.skipped[0]


def test_what_is_filled_in_elsewhere_does_not_hinder_the_image(digest: str) -> None:
    data = manifest(POD.replace("name: a", "name: '{{workflow.name}}-a'"))
    assert pin(data, Target(image=digest)).data == data.replace(b"old", digest.encode())


def test_a_change_inside_a_text_says_its_line_and_the_way(digest: str) -> None:
    (change,) = pin(manifest(POD), Target(image=digest)).changes
    assert change.line == 13
    assert change.path == "spec.templates[0].resource.manifest|spec.containers[0].image"
    assert (change.kind, change.name, change.container) == ("Pod", "w", "a")
    assert [found.line for found in images(manifest(POD))] == [13]


def test_two_containers_in_a_text_are_a_question(digest: str) -> None:
    data = manifest(POD + "  - {name: b, image: other}\n")
    with pytest.raises(AmbiguousContainerError, match=r"^f:12: .*a, b") as caught:
        pin(data, Target(image=digest), filename="f")
    assert "--container" in caught.value.sentence
    assert pin(data, Target(image=digest), container="b").data == data.replace(
        b"other", digest.encode()
    )


def test_references_and_annotations_reach_into_texts(registry: Registry) -> None:
    data = manifest(POD.replace("old", "kitbag://a/b:2") + "    env: [{name: X, value: old}]\n")
    image = registry.image("a/b:2")
    assert pin(data, registry).data == data.replace(b"kitbag://a/b:2", image.encode())
    annotated = manifest(POD).replace(
        b"{name: w}", b"{name: w, annotations: {kitbag.dev/environment: a.c}}"
    )
    image = registry.image("a/c")
    assert pin(annotated, registry).data == annotated.replace(
        b"image: old", f"image: {image}".encode()
    )


def test_a_text_that_serves_other_places_too_is_refused(digest: str) -> None:
    data = (
        HEAD
        + """\
  arguments: {parameters: [{name: patch, value: *patch}]}
"""
    ).replace(
        "metadata: {name: w}",
        "metadata: {name: w}\nx: &patch 'containers: [{name: main, image: old}]'",
    )
    data += "  podSpecPatch: *patch\n"
    with pytest.raises(SharedImageError, match=r"^f:4: "):
        pin(data.encode(), Target(image=digest), filename="f")


def test_a_missing_image_is_added_in_a_literal_text_and_not_in_a_folded_one(digest: str) -> None:
    bare = POD.replace("    image: old\n", "")
    assert pin(manifest(bare), Target(image=digest)).data == manifest(POD.replace("old", digest))
    quoted = f"{HEAD}  templates:\n  - resource:\n      manifest: {json.dumps(bare)}\n"
    after = pin(quoted.encode(), Target(image=digest)).data.decode()
    assert after == quoted.replace(r"name: a\n", rf"name: a\n    image: {digest}\n")
    folded = bare.replace("\n", "\n\n        ")
    text = f"{HEAD}  templates:\n  - resource:\n      manifest: >\n        {folded}\n"
    with pytest.raises(WriteError, match="literal block"):
        pin(text.encode(), Target(image=digest))


def test_texts_in_texts_stop_somewhere(digest: str) -> None:
    text = POD
    for _ in range(12):
        text = json.dumps(
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "Workflow",
                "spec": {"templates": [{"resource": {"manifest": text}}]},
            }
        )
        if len(text) > 200_000:
            break
    with pytest.raises(ValueError, match="nested over 8 deep"):
        pin(text.encode(), Target(image=digest))


# --- what a scalar says, and the way back ---------------------------------------------------------

LINES = [
    "a: b",
    "- c",
    "  d: 'e'",
    "",
    "    f",
    "\tg",
    'say "hi"',
    "it's",
    "x # y",
    "é\U0001f600",
    " ",
]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=8).map("\n".join),
    st.sampled_from(["'", '"', "|", ">", None]),
    st.integers(10, 60),
    st.booleans(),
)
def test_an_embedded_text_says_what_yaml_says(
    text: str, style: str | None, width: int, crlf: bool
) -> None:
    dumped = yaml.dump({"k": {"text": text}}, default_style=style, width=width, allow_unicode=True)
    dumped = dumped.replace("\n", "\r\n") if crlf else dumped
    source = Source(dumped.encode())
    (root,) = read(source)
    assert isinstance(root, Mapping)
    inner = root.pairs[0][1]
    assert isinstance(inner, Mapping)
    scalar = inner.pairs[0][1]
    assert isinstance(scalar, Scalar)
    found = Embedded(source, scalar, inner)
    said = YAML(typ="safe", pure=True).load(dumped)["k"]["text"]
    assert found.text.rstrip("\n") == said.rstrip("\n")
    for position, char in enumerate(found.text):
        if char.isalnum():
            start, end, _ = found.outermost((position, position + 1, "Z"))
            again = YAML(typ="safe", pure=True).load(dumped[:start] + "Z" + dumped[end:])["k"][
                "text"
            ]
            assert again.rstrip("\n") == (
                found.text[:position] + "Z" + found.text[position + 1 :]
            ).rstrip("\n")
