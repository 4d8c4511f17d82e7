"""What the tests of the pages share."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def plan() -> dict[str, Any]:
    """What a worker answers to a request for a plan."""
    return {
        "way": "layered",
        "why": "requirements.txt lists only Python packages.",
        "files": ["requirements.txt"],
        "python": "3.11.2",
        "base": {"name": "auto", "image": "r/b@sha256:1", "digest": "sha256:1"},
        "packages": [{"name": "numpy", "version": "2.0.0", "size_bytes": 900, "known": True}],
        "layers": {"known": 1, "new": 0},
        "bytes_to_move": 10,
        "bytes_to_fetch": 1200,
        "bytes_to_download": 0,
        "image_bytes": 5_000_000,
        "warnings": ["The environment has no JupyterLab."],
    }
