"""Image references are read as `docker pull` reads them."""

from __future__ import annotations

import pytest

from builder.bases.reference import Reference, parse_reference
from builder.errors import InvalidSpecError

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "host", "repo", "reference"),
    [
        ("python:3.12-slim", "docker.io", "library/python", "3.12-slim"),
        ("python", "docker.io", "library/python", "latest"),
        ("nvidia/cuda:12.6.3-base", "docker.io", "nvidia/cuda", "12.6.3-base"),
        ("docker.io/python:3", "docker.io", "library/python", "3"),
        ("ghcr.io/a/b/c", "ghcr.io", "a/b/c", "latest"),
        ("localhost/x:1", "localhost", "x", "1"),
        ("127.0.0.1:5000/x/y:v1", "127.0.0.1:5000", "x/y", "v1"),
        ("registry:5000/x", "registry:5000", "x", "latest"),
        (f"quay.io/x:1@{DIGEST}", "quay.io", "x", DIGEST),
        (f"quay.io/x@{DIGEST}", "quay.io", "x", DIGEST),
        (" quay.io/x:1\n", "quay.io", "x", "1"),
    ],
)
def test_a_reference_is_host_repository_and_tag_or_digest(text, host, repo, reference) -> None:
    parsed = parse_reference(text)
    assert parsed == Reference(host, repo, reference)
    assert parse_reference(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        *["", ":", "@", "x:", "x@", "UPPER/case", "a//b", "../x", "quay.io/", "x@sha256:short"],
        *["x" * 600, "x:a b", "-x:1", "http://quay.io/x", "quay.io/x:1@md5:00", "u:pw@quay.io/x"],
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        parse_reference(text)
