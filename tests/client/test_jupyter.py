"""What the client's wheel brings to Jupyter, looked at where there is none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "client"
BUILT = CLIENT / "kitbag/labextension"


def digest(folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, CLIENT / "labextension/sources.py", folder],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_what_is_committed_was_built_from_the_sources() -> None:
    said = (BUILT / "sources.sha256").read_text().strip()
    assert digest(CLIENT / "labextension") == said, "run `make labextension` and commit it"


def test_a_change_of_any_source_is_noticed(tmp_path: Path) -> None:
    for name in ("src/index.ts", "style/index.css", "package.json", "package-lock.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((CLIENT / "labextension" / name).read_bytes())
    before = digest(tmp_path)
    (tmp_path / "src/more.ts").touch()
    added = digest(tmp_path)
    (tmp_path / "style/index.css").write_text("p {}")
    assert len({before, added, digest(tmp_path)}) == 3


def test_the_wheel_has_what_jupyter_looks_for_once(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    subprocess.run(command, cwd=CLIENT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        data = "kitbag-0.1.0.data/data"
        lab = f"{data}/share/jupyter/labextensions/kitbag"
        package = json.loads(wheel.read(f"{lab}/package.json"))
        entry = f"{lab}/{package['jupyterlab']['_build']['load']}"
        assert {f"{lab}/install.json", entry} <= set(names)
        server = wheel.read(f"{data}/etc/jupyter/jupyter_server_config.d/kitbag.json")
    enabled = json.loads(server)["ServerApp"]["jpserver_extensions"]
    assert enabled == {"kitbag.jupyter": True}
    assert not [name for name in names if name.startswith("kitbag/labextension")]
    assert not [name for name in names if name.endswith(".map")]


def test_the_extension_is_named_where_jupyter_is_not_installed() -> None:
    if importlib.util.find_spec("jupyter_server"):
        pytest.skip("Jupyter is installed here")
    points = import_module("kitbag.jupyter")._jupyter_server_extension_points()
    assert points == [{"module": "kitbag.jupyter"}]
