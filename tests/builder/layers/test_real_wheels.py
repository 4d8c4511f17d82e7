"""The notebook set of the benchmarks: layers of real wheels are what uv installs from them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

SET = Path(__file__).parents[3] / "bench/notebook.txt"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_hundred_real_wheels_are_installed_as_uv_installs_them(
    wheel_factory: WheelFactory, layer_of: Callable[..., Any], venv: Any, tmp_path: Path
) -> None:
    """Fetched by pip from the index that this machine is configured for, then served again."""
    python = Path(sys.base_prefix) / "bin/python3"
    fetched = subprocess.run(
        [
            *(str(python), "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--dest", str(wheel_factory.folder)),
            *("--requirement", str(SET), "pip", "humanize"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert fetched.returncode == 0, fetched.stderr
    wheels = sorted(wheel_factory.folder.glob("*.whl"))
    assert len(wheels) == len(SET.read_text().split()) + 2
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda path: layer_of(path, venv.prefix), wheels))
    found = venv.differences(made, *wheels)
    assert not found, "\n".join(found[:50])
    checked = subprocess.run(
        [venv.root / "bin/python", "-m", "pip", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
