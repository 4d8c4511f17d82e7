"""A build uses the processors that it may use, and no more threads than help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder import cores

ROOT = Path(__file__).parents[2]


def test_affinity_counts(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    script = "from builder.cores import cores; print(cores())"
    told = subprocess.run(
        ["taskset", "-c", str(cpu), sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert told.stdout == "1\n"


@pytest.mark.parametrize(
    ("processors", "quota", "used"),
    [
        (2, None, 2),
        (64, "max 100000\n", 64),
        (256, "max 100000\n", 64),
        (96, "200000 100000\n", 2),
        (96, "150000 100000\n", 2),
        (96, "1000 100000\n", 1),
        (4, "800000 100000\n", 4),
        (4, "nonsense", 4),
    ],
)
def test_a_containers_limit_counts(
    processors: int,
    quota: str | None,
    used: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota)
    assert cores.cores(file) == used
