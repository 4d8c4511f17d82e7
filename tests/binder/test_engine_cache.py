"""Steps of a repository's own Dockerfile come from the registry's cache on another engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.model import Base

from .conftest import Workshop

pytestmark = pytest.mark.rig


def test_an_engine_that_forgot_a_step_has_it_from_the_registry(
    make_workshop: Callable[..., Workshop], base: Base
) -> None:
    site = make_workshop(engine_cache="cache")
    text = f"FROM {base.image}\nRUN cat /proc/sys/kernel/random/uuid > /uuid\n"
    first = site.build({"Dockerfile": text}, "cached/repo")
    assert site.engine is not None
    site.engine.docker("builder", "prune", "--all", "--force")
    second = site.build({"Dockerfile": f"{text}LABEL changed=yes\n"}, "cached/repo")
    assert second.digest != first.digest
    digests = [[layer["digest"] for layer in each.layers] for each in (first, second)]
    assert digests[0] == digests[1]
