"""Write a source on disk and ask what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from builder.detect import Detected, Requirements, detect, read_requirements


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """`write({name: content})` fills a fresh folder and returns it."""
    count = 0

    def write_them(files: Mapping[str, str | bytes]) -> Path:
        nonlocal count
        count += 1
        root = tmp_path / f"source-{count}"
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write_them


@pytest.fixture
def look(write: Callable[..., Path]) -> Callable[..., Detected]:
    """`look({name: content}, subdir=None)` detects."""
    return lambda files, subdir=None: detect(write(files), subdir)


@pytest.fixture
def read(write: Callable[..., Path]) -> Callable[..., Requirements]:
    """`read({name: content}, **options)` detects and reads the requirements."""

    def read_them(files: Mapping[str, str | bytes], **options: object) -> Requirements:
        root = write(files)
        return read_requirements(root, detect(root), **options)  # type: ignore[arg-type]

    return read_them
