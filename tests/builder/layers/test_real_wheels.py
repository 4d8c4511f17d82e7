"""Layers of real wheels are what uv installs from them, file by file.

CI compares the notebook set of the benchmarks, and the bytecode of its smaller wheels; `make wide`
compares all of real-wheels.txt (0.6 GB to fetch) with all of its bytecode.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

SET = Path(__file__).parents[3] / "bench/notebook.txt"
WIDE = Path(__file__).with_name("real-wheels.txt")
COMPILED_BYTES = 192 << 10
"""CI compiles wheels up to this size: over half of them, and a small part of the code."""


def fetched(folder: Path, requirements: Path, *more: str) -> list[Path]:
    """Fetched by pip from the index that this machine is configured for, sorted by name."""
    done = subprocess.run(
        [
            *(
                str(Path(sys.base_prefix) / "bin/python3"),
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
            ),
            *("--only-binary", ":all:", "--dest", str(folder)),
            *("--requirement", str(requirements), *more),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wheels = sorted(folder.glob("*.whl"))
    assert len(wheels) == len(requirements.read_text().split()) + len(more)
    return wheels


def assert_as_uv(
    venv: Any, layer_of: Callable[..., Any], wheels: Sequence[Path], compiled: Sequence[Path]
) -> None:
    """Unpacks the layers one by one beside uv's environment; of `compiled` with bytecode."""
    ours = venv.root.parents[1] / "ours"

    def unpack(path: Path) -> None:
        layer_of(path, venv.prefix, bytecode=path in compiled).unpack(ours)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(unpack, wheels))
    # uv compiles whatever is installed, so what is not to be compiled comes after it.
    venv.install(*compiled)
    rest = [path for path in wheels if path not in compiled]
    if rest:
        venv.install(*rest, compile_bytecode=False)
    found = venv.differences_to(ours)
    assert not found, "\n".join(found[:50])
    checked = subprocess.run(
        [venv.root / "bin/python", "-m", "pip", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_real_wheels_are_installed_as_uv_installs_them(
    wheel_factory: WheelFactory, layer_of: Callable[..., Any], venv: Any
) -> None:
    wheels = fetched(wheel_factory.folder, SET, "pip", "humanize")
    small = [path for path in wheels if path.stat().st_size <= COMPILED_BYTES]
    assert len(small) > len(wheels) / 2
    assert_as_uv(venv, layer_of, wheels, small)


@pytest.mark.slow
@pytest.mark.wide
@pytest.mark.timeout(3600)
def test_three_hundred_real_wheels_are_installed_as_uv_installs_them(
    wheel_factory: WheelFactory, layer_of: Callable[..., Any], venv: Any
) -> None:
    wheels = fetched(wheel_factory.folder, WIDE)
    assert len(wheels) >= 300
    assert_as_uv(venv, layer_of, wheels, wheels)
