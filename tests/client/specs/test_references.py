"""References to images and to environments are read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbag.refs import EnvRef
from kitbag.specs import ImageRef

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ubuntu", None, "ubuntu", None, None),
        ("library/ubuntu:24.04", None, "library/ubuntu", "24.04", None),
        ("localhost/a", "localhost", "a", None, None),
        ("127.0.0.1:5001/a/b:v1", "127.0.0.1:5001", "a/b", "v1", None),
        ("[::1]:5000/a", "[::1]:5000", "a", None, None),
        ("r.io/a__b/c--d:T_1.x", "r.io", "a__b/c--d", "T_1.x", None),
        (f"r.io/a@sha256:{HEX}", "r.io", "a", None, f"sha256:{HEX}"),
        (f"r.io:443/a:t@sha256:{HEX}", "r.io:443", "a", "t", f"sha256:{HEX}"),
        ("Host/a", "Host", "a", None, None),
    ],
)
def test_an_image_reference_has_these_parts(
    text: str, registry: str | None, repository: str, tag: str | None, digest: str | None
) -> None:
    assert ImageRef.parse(text) == ImageRef(registry, repository, tag, digest)
    assert str(ImageRef.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "A", "a b", "a:", "a@sha256:12", "a/", "/a", "a//b", "r.io:x/a", "a:b:c", "https://r.io/a",
     "a@", "a\n", "-a", "r.io/A", "kitbag://a/b", "a:" + "t" * 129, "a" * 2000, f"a@SHA256:{HEX}"],
)  # fmt: skip
def test_what_is_no_image_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an image reference"):
        ImageRef.parse(text)


@pytest.mark.parametrize(
    "text", ["alice/3dgan", "alice/3dgan:4", "a/b:latest", "a/b:1234abcd", "a/b:release-1.2_x"]
)
def test_an_environment_reference_reads_back(text: str) -> None:
    reference = EnvRef.parse(text)
    assert str(reference) == text
    assert EnvRef.parse(reference.uri) == reference
    assert EnvRef.parse_label(text.replace("/", ".", 1).replace(":", ".", 1)) == reference


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/", "/b", "a/b:", "a/b/c", "A/b", "a/-b", "a/b-", "a/b:-x", "a/b:x/y", "a/b:x y",
     "a" * 64 + "/b", "a/b:" + "x" * 129, "kitbag://", "http://a/b", "a/b\n", "a/b:1\n"],
)  # fmt: skip
def test_what_names_no_environment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an environment"):
        EnvRef.parse(text)


@pytest.mark.parametrize("text", ["", "a", "a.", ".b", "a.b.", "A.b", "a.b.c/d"])
def test_a_label_that_names_no_environment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an environment"):
        EnvRef.parse_label(text)


def test_a_version_may_be_a_number_or_a_commit() -> None:
    assert EnvRef.parse("a/b:12").number == 12
    assert EnvRef.parse("a/b:latest").number is None
    assert EnvRef.parse("a/b").number is None
    assert EnvRef.parse("a/b:1234abc").may_be_commit
    assert not EnvRef.parse("a/b:main").may_be_commit


@given(st.text(max_size=80))
def test_any_text_is_read_back_or_refused(text: str) -> None:
    for read in (ImageRef.parse, EnvRef.parse):
        try:
            assert str(read(text)) == text.removeprefix("kitbag://")
        except ValueError as error:
            assert "\n" not in str(error)
