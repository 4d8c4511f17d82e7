"""A way to lock files against an index that only the test has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rig.wheels import WheelFactory

from builder.detect import detect
from builder.lock import Target, UvSettings, lock
from builder.model import Lock
from builder.source import HostPolicy

LockFiles = Callable[..., Lock]


@pytest.fixture
def settings(wheel_factory: WheelFactory, tmp_path: Path) -> UvSettings:
    """uv with a cache of the test's own and the test's index."""
    return UvSettings(
        tmp_path / "cache", index_url=wheel_factory.index_url, hosts=HostPolicy(private=True)
    )


@pytest.fixture
def lock_files(settings: UvSettings, tmp_path: Path) -> LockFiles:
    """`lock_files({name: text}, python="3.11", seed=(), **options)` writes, detects and locks."""
    count = 0

    def lock_them(
        files: Mapping[str, str],
        python: str = "3.11",
        *,
        uv: UvSettings = settings,
        seed: tuple[str, ...] = (),
        **options: object,
    ) -> Lock:
        nonlocal count
        count += 1
        root = tmp_path / f"source-{count}"
        root.mkdir()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        target = options.pop("target", Target(python))
        return lock(root, detect(root), target, uv=uv, seed=seed, **options)  # type: ignore[arg-type]

    return lock_them
