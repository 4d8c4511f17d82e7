"""The example repository, and an environment made of its own requirements."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True, slots=True)
class Science:
    """A Python with the example's packages."""

    python: Path

    def command(self, code: Path, *args: object) -> tuple[list[str], dict[str, str]]:
        """Return the command line and variables that run Python with `code` importable."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        env |= {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "agg"}
        env |= {"OPENBLAS_NUM_THREADS": "1"}
        return [str(self.python), *map(str, args)], env

    def run(
        self, code: Path, *args: object, extra_env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command, env = self.command(code, *args)
        return subprocess.run(
            command,
            env=env | dict(extra_env or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def uv(*args: object) -> str:
    """Run uv and return what it prints; without an index skip, or in CI fail, the test."""
    command = [str(UV), "--no-config", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    if done.returncode == 0:
        return done.stdout
    offline = any(sign in done.stderr for sign in ("Failed to fetch", "dns error", "Connect"))
    if offline and not os.environ.get("CI"):
        pytest.skip("no package index can be reached")
    return pytest.fail(f"uv {args[0]} failed:\n{done.stderr}")


@pytest.fixture(scope="session")
def run_uv() -> Callable[..., str]:
    return uv


@pytest.fixture(scope="session")
def example() -> Path:
    return Path(__file__).parents[2] / "examples" / "3dgan"


@pytest.fixture(scope="session")
def science(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Science:
    """The example's environment, less the notebook server, which its code doesn't import."""
    folder = tmp_path_factory.mktemp("science")
    wanted = folder / "requirements.txt"
    lines = (example / "requirements.txt").read_text().splitlines(keepends=True)
    wanted.write_text("".join(line for line in lines if not line.startswith("jupyterlab")))
    python = folder / "venv" / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, python.parents[1])
    uv("pip", "install", "--quiet", "--only-binary", ":all:", "--python", python, "-r", wanted)
    return Science(python)


@pytest.fixture(scope="session")
def trained(science: Science, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two epochs of training leave."""
    out = tmp_path_factory.mktemp("trained")
    run = science.run(example, "-m", "gan3d.train", "--epochs", 2, "--grid", 8, "--out", out)
    assert run.returncode == 0, run.stderr
    return out


@pytest.fixture
def code_zip(example: Path, tmp_path: Path) -> Path:
    """The package as the pipeline's steps get it."""
    shutil.copytree(
        example / "gan3d", tmp_path / "tree" / "gan3d", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Path(shutil.make_archive(str(tmp_path / "3dgan"), "zip", tmp_path / "tree"))
