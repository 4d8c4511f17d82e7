"""What cannot be pinned exactly is refused with the file, the line and one sentence."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kitbag.specs import (
    AliasError,
    AmbiguousContainerError,
    DuplicateKeyError,
    EncodingError,
    InvalidYamlError,
    RecompileError,
    SpecError,
    Target,
    TemplateError,
    TooBigError,
    TooDeepError,
    UnknownContainerError,
    WriteError,
    pin,
)

IMAGE = Target(image="r.example.org/a/b@sha256:" + "0" * 64)
HEAD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
COMPILED = """\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  arguments:
    parameters:
    - {name: implementations-comp-train, value: '{"image": "python:3.11"}'}
"""

REFUSED = {
    "helm": (
        TemplateError,
        1,
        "{{- if .Values.enabled }}\napiVersion: v1\nkind: Pod\n{{- end }}\n",
    ),
    "helm value": (TemplateError, 7, HEAD + "  - name: a\n    image: {{ .Values.image }}\n"),
    "helm beside a comment": (TemplateError, 2, "# {{ stays }}\na: {{ b }}\n"),
    "jinja": (TemplateError, 6, HEAD + "{% for c in containers %}\n  - name: a\n{% endfor %}\n"),
    "format string": (TemplateError, 7, HEAD + "  - name: a\n    image: {image}\n"),
    "format name": (TemplateError, 4, HEAD.replace("{name: p}", "\n  name: {name}")[:-1] + " []\n"),
    "not yaml": (InvalidYamlError, 2, "a: b\n c: d\n"),
    "unclosed": (InvalidYamlError, 2, "a: [b,\n"),
    "tab indentation": (InvalidYamlError, 2, "a:\n\tb: c\n"),
    "undefined alias": (InvalidYamlError, 1, "a: *b\n"),
    "no text": (InvalidYamlError, 1, "a: \0\n"),
    "mapping as a key": (InvalidYamlError, 1, "? {a: b}\n: c\n"),
    "duplicate key": (DuplicateKeyError, 3, "a:\n  b: 1\n  b: 2\n"),
    "duplicate quoted key": (DuplicateKeyError, 2, "b: 1\n'b': 2\n"),
    "duplicate json key": (DuplicateKeyError, 1, '{"b": 1, "c": 0, "b": 2}'),
    "alias bomb": (AliasError, 1, BOMB),
    "alias in itself": (AliasError, 1, "a: &a [*a]\n"),
    "deep blocks": (TooDeepError, 101, "".join(" " * i + "a:\n" for i in range(1000))),
    "deep dashes": (TooDeepError, 1, "- " * 1000 + "a\n"),
    "two containers": (
        AmbiguousContainerError,
        6,
        HEAD + "  - {name: one, image: a}\n  - {name: two, image: b}\n",
    ),
    "containers that are text": (WriteError, 6, HEAD + "  - one\n"),
    "an image that is a list": (WriteError, 7, HEAD + "  - name: a\n    image: [b]\n"),
    "a key without a colon": (WriteError, 6, HEAD + "  - {image, name: a}\n"),
    "kfp v2 on argo": (RecompileError, 6, COMPILED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_file_line_and_one_sentence(name: str) -> None:
    kind, line, text = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        pin(text.encode(), IMAGE, filename="dir/file.yaml")
    assert type(caught.value) is kind
    assert (caught.value.file, caught.value.line) == ("dir/file.yaml", line)
    assert str(caught.value).startswith(f"dir/file.yaml:{line}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_two_containers_are_named_and_container_decides() -> None:
    text = HEAD + "  - {name: one, image: a}\n  - {name: two, image: b}\n"
    with pytest.raises(AmbiguousContainerError, match=r"one, two.*--container"):
        pin(text.encode(), IMAGE)
    pinned = pin(text.encode(), IMAGE, container="two")
    assert pinned.data.decode() == text.replace("image: b", f"image: {IMAGE.image}")


def test_two_containers_are_no_matter_when_no_image_is_to_be_set() -> None:
    text = HEAD + "  - {name: one, image: a}\n  - {name: two, image: kitbag://a/b}\n"
    pinned = pin(text.encode(), lambda _: "r.io/a/b:1")
    assert pinned.data.decode() == text.replace("kitbag://a/b", "r.io/a/b:1")


def test_a_container_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UnknownContainerError, match=r"'three'.*one, two"):
        text = HEAD + "  - {name: one, image: a}\n  - {name: two, image: b}\n"
        pin(text.encode(), IMAGE, container="three")


@pytest.mark.parametrize(
    ("data", "line"), [(b"a: b\nc: \xff\n", 2), ("a: b".encode("utf-16"), 1), (b"\xff\xfe\0\0", 1)]
)
def test_what_is_not_utf_8_is_refused(data: bytes, line: int) -> None:
    with pytest.raises(EncodingError) as caught:
        pin(data, IMAGE)
    assert caught.value.line == line


def test_a_file_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(TooBigError):
        pin(b"a" * (50 * 1024 * 1024 + 1), IMAGE)


def peak(data: bytes) -> int:
    """The bytes that refusing a file takes at most, beside the file."""
    tracemalloc.start()
    try:
        with pytest.raises(SpecError) as caught:
            pin(data, IMAGE)
        assert "\n" not in caught.value.sentence
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 20_000_000,
        b"{" * 2_000_000,
        b"{a: " * 500_000,
        b"- " * 1_000_000,
        b"? " * 1_000_000,
        b'"' + b"\\" * 2_000_000,
        b"&a " * 1_000_000,
        b"a: |\n" + b"\n" * 1_000_000 + b"[",
        b"!" * 1_000_000 + b"[",
        b" " * 1_000_000 + b"[",
        b"a " * 1_000_000 + b": [",
        b"a: \xff" + b"x" * 20_000_000,
        b"a: {}\n" * 300_000,
        (BOMB + "# x\n" * 300_000).encode(),
    ],
    ids=lambda data: repr(data[:8]),
)
def test_hostile_megabytes_take_no_more_memory_than_manifests(data: bytes) -> None:
    assert peak(data) < 20 * len(data)


def test_more_values_than_any_manifest_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kitbag.specs.scalars.MAX_NODES", 1000)
    with pytest.raises(TooBigError, match="values; split it"):
        pin(b"[" + b"1," * 1001 + b"]", IMAGE)


def workflow(text: str) -> bytes:
    """A Workflow that makes an object of this text."""
    template = {"resource": {"manifest": f"containers: 1\n{text}"}}
    return json.dumps(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "spec": {"templates": [template]},
        }
    ).encode()


def test_hostile_texts_inside_a_file_are_no_worse() -> None:
    with pytest.raises(AliasError):
        pin(workflow(BOMB), IMAGE)
    for text in (
        "x: " + "[" * 1_000_000,
        "x: " + "- " * 1_000_000,
        "".join(" " * i + "a:\n" for i in range(900)),
    ):
        data = workflow(text)
        tracemalloc.start()
        pinned = pin(data, IMAGE)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
        tracemalloc.stop()
        assert pinned.data == data
        assert "can't be read" in pinned.skipped[0]


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_pinned_unchanged_or_refused(data: bytes) -> None:
    try:
        assert pin(data, IMAGE).data == data
    except SpecError as error:
        assert error.sentence
