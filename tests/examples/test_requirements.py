from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def resolve(run_uv: Callable[..., str], requirements: Path) -> dict[str, str]:
    """Return name → version as CPython 3.11 on 64-bit Linux would get them, from wheels alone."""
    text = run_uv(
        "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", requirements,
    )  # fmt: skip
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_the_requirements_are_all_wheels_and_need_no_framework(
    run_uv: Callable[..., str], example: Path
) -> None:
    packages = resolve(run_uv, example / "requirements.txt")
    assert {"numpy", "h5py", "pandas", "matplotlib", "jupyterlab"} <= packages.keys()
    assert not {"tensorflow", "torch", "kfp"} & packages.keys()


def test_the_gpu_requirements_add_tensorflow_with_cuda_and_drop_nothing(
    run_uv: Callable[..., str], example: Path
) -> None:
    plain = resolve(run_uv, example / "requirements.txt")
    packages = resolve(run_uv, example / "requirements-gpu.txt")
    assert packages.keys() > plain.keys()
    assert "tensorflow" in packages
    assert any(name.startswith("nvidia-cudnn-cu12") for name in packages)
