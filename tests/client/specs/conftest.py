"""What the tests of pins share: a digest, a resolver, and manifests small enough to read."""

from __future__ import annotations

import pytest

DIGEST = "registry.example.org:5000/kitbag/alice/3dgan@sha256:" + "c0ffee42" * 8


@pytest.fixture
def digest() -> str:
    return DIGEST


class Registry:
    """A resolver that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, environment: str) -> str:
        self.asked.append(environment)
        return self.image(environment)

    def image(self, environment: str) -> str:
        name, _, version = environment.partition(":")
        return f"registry.example.org/{name}@sha256:{(version or '0').encode().hex():0>64}"


@pytest.fixture
def registry() -> Registry:
    return Registry()
