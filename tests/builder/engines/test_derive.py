"""A base derived from an image without Python: an engine adds what notebooks need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rig.docker import CA_BUNDLE
from rig.docker import DockerEngine as RigEngine
from rig.registry import Registry

from builder.bases.derive import derive, needed
from builder.engines.client import Builder
from builder.engines.docker import DockerEngine
from builder.engines.protocol import Limits
from builder.errors import BaseNotFoundError, EngineNeededError
from builder.model import Platform
from builder.stores.layout import LayoutStore

from .conftest import put_root

pytestmark = pytest.mark.rig
_CHECK = """
set -e
python3 -m venv --without-pip /tmp/venv && python3 -c 'import ensurepip, ssl'
wget --version >/dev/null && git --version && tini --version && bzip2 --help 2>/dev/null
test -s /etc/ssl/certs/ca-certificates.crt
test "$(stat -c %u:%g /home/jovyan)" = 1000:100 && test "$(id -un 1000)" = jovyan
test -z "$(ls -A /var/lib/apt/lists /tmp/derive.sh 2>/dev/null)" && test ! -e /dev/shm/kitbag-ca.pem
echo "CUDA $CUDA_VERSION"
"""


@pytest.mark.slow
def test_the_command_derives_a_base_from_an_image_without_python(
    docker_engine: RigEngine, registry: Registry, bare_root: Path, tmp_path: Path
) -> None:
    bare = f"{registry.host}/nvidia/cuda:12.6.3-runtime"
    change = "--change=ENV CUDA_VERSION=12.6.3"
    docker_engine.docker("import", change, str(bare_root), bare)
    docker_engine.docker("push", bare)
    site = tmp_path / "site.pem"
    site.write_text(f"# the authorities of a company\n{CA_BUNDLE.read_text()}")
    environment = {
        **os.environ,
        "KITBAG_DATABASE_URL": f"sqlite:///{tmp_path}/catalog.db",
        "KITBAG_DATA": str(tmp_path / "data"),
        "KITBAG_STORE": f"registry://{registry.host}/envs",
        "KITBAG_LOCAL": "true",
        "KITBAG_ENGINE": "docker",
        "KITBAG_ENGINE_ADDRESS": docker_engine.host,
        "KITBAG_ENGINE_NETWORK": "host",
        "KITBAG_CA_BUNDLE": str(site),
    }
    command = [str(Path(sys.executable).with_name("kitbag-server")), "base", "add", "cuda12"]
    done = subprocess.run(
        [*command, "--from", bare, "--json"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    base = json.loads(done.stdout)
    assert base["cuda"] == "12.6.3"
    assert base["python"].startswith("3.11.")
    assert base["source"].startswith(f"{bare}@sha256:")
    checked = docker_engine.run(base["image"], "bash", "-c", _CHECK)
    assert checked.stdout.endswith("CUDA 12.6.3\n")
    history = docker_engine.docker("history", "--no-trunc", base["image"]).stdout
    assert "authorities of a company" not in history + done.stdout
    assert "kitbag-ca" not in docker_engine.run(base["image"], "find", "/", "-xdev").stdout


@pytest.fixture
def builder() -> Builder:
    return Builder.CLASSIC


def test_a_distribution_without_apt_is_refused_in_a_sentence(
    engine: DockerEngine, tiny_tar: Path, tmp_path: Path
) -> None:
    store = LayoutStore(tmp_path / "layout")
    base = put_root(tiny_tar, store, "library/tiny", tmp_path)
    with pytest.raises(BaseNotFoundError, match="Debian and Ubuntu only"):
        derive(
            *(engine, store, "library/tiny", base.digest, store, "kitbag/base/tiny"),
            name="tiny",
            platform=Platform(),
            build="base-test",
            limits=Limits(),
        )


def test_without_an_engine_no_base_can_be_derived() -> None:
    with pytest.raises(EngineNeededError, match="KITBAG_ENGINE"):
        needed(None)
