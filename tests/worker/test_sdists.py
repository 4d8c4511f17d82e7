"""Packages that are only released as source: built once in a container, and locked by hash."""

from __future__ import annotations

import ensurepip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from rig.docker import DockerEngine
from rig.redis import RedisServer
from rig.registry import Registry

from builder.bases.registry import from_registry
from builder.lock import parse
from builder.model import Lock, Platform
from builder.stores.open import open_store
from catalog import bases, versions
from catalog.engine import reading, writing
from catalog.models import Version
from catalog.states import BuildState
from worker import building, verifying
from worker.services import ENGINE_ALIVE, Services

from .conftest import Site

pytestmark = [pytest.mark.rig, pytest.mark.slow]
Make = Callable[..., Site]

# A whole build backend (PEP 517) of a source's own: it looks at where it is while it builds.
_BACKEND = """
import os, socket, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return ["helper"]

def build_wheel(directory, config_settings=None, metadata_directory=None):
    import helper
    assert os.getuid() == 1000, os.getuid()
    try:
        socket.create_connection(("127.0.0.1", {port}), 2).close()
    except OSError:
        pass
    else:
        raise SystemExit("there is a network")
    name = "sourceonly-{version}-py3-none-any.whl"
    info = "sourceonly-{version}.dist-info"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        def add(path, text):
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
        add("sourceonly.py", "helped = %r" % helper.__version__)
        lines = ["Metadata-Version: 2.1", "Name: sourceonly", "Version: {version}"]
        add(info + "/METADATA", "\\n".join([*lines, "Requires-Dist: one", ""]))
        lines = ["Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true"]
        add(info + "/WHEEL", "\\n".join([*lines, "Tag: py3-none-any", ""]))
        add(info + "/RECORD", "")
    return name
"""
_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture(scope="module")
def debian(docker_engine: DockerEngine, registry: Registry, debian_root: Path) -> str:
    """The reference of a Debian with Python in the rig's registry."""
    reference = f"{registry.host}/debian/python:bookworm"
    docker_engine.docker("import", str(debian_root), reference)
    docker_engine.docker("push", reference)
    return reference


@pytest.fixture
def site(
    make_site: Make, docker_engine: DockerEngine, registry: Registry, debian: str, tmp_path: Path
) -> Site:
    """A worker with an engine, whose base `auto` is a Debian with Python 3.11."""
    store = open_store(f"registry://{registry.host}")
    made = make_site(
        engine="docker",
        engine_address=docker_engine.host,
        engine_network="host",
        store=f"registry://{registry.host}",
        bytecode=False,
    )
    base = from_registry(
        *(store, "debian/python", "bookworm", store, "kitbag/base/auto"),
        name="auto",
        platform=Platform(),
    )
    with writing(made.engine) as session:
        bases.add(session, name="auto", digest=base.digest, image=base.image, record=base.to_json())
    pip = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    shutil.copy(pip, made.index.folder)
    (made.index.folder / "pip-1.0-py3-none-any.whl").unlink()
    made.index.wheel("helper", "3.0")
    return made


def source(site: Site, version: str = "1.0", backend: str = _BACKEND) -> None:
    text = backend.replace("{port}", str(site.index.port)).replace("{version}", version)
    files = {"pyproject.toml": _PYPROJECT, "backend.py": text}
    site.index.sdist("sourceonly", version, files)


def locked(site: Site, version: Version) -> Lock:
    with reading(site.engine) as session:
        text = versions.lock_text(session, version)
    assert text is not None
    return parse(text, version.python, Platform())


def test_a_package_without_a_wheel_is_built_once_and_locked_by_both_hashes(
    site: Site, docker_engine: DockerEngine
) -> None:
    source(site, "1.0")
    source(site, "2.0")
    version = site.made("sourceonly<2")
    lock = locked(site, version)
    (wheel,) = (each for each in lock.wheels if each.name == "sourceonly")
    assert (wheel.version, wheel.filename) == ("1.0", "sourceonly-1.0-py3-none-any.whl")
    assert wheel.sdist is not None
    assert wheel.sdist.sha256 == site.index.sha256(site.index.folder / "sourceonly-1.0.tar.gz")
    assert "one" in {each.name for each in lock.wheels}
    code = "import sourceonly; print(sourceonly.helped)"
    assert docker_engine.run(version.image, "python", "-c", code).stdout == "3.0\n"
    # Again from the cache, without another look at the source.
    asked = len([path for path in site.index.requests if path.endswith("1.0.tar.gz")])
    again = site.made("sourceonly<2", "two", environment="alice/other")
    assert len([path for path in site.index.requests if path.endswith("1.0.tar.gz")]) == asked
    assert wheel in locked(site, again).wheels
    # A worker that never built it does, from the lock alone, and it comes out the same.
    shutil.rmtree(site.settings.cache_root / "sdists")
    verdict = verifying.run(site.kit, "alice/gan", lambda _: None)
    assert verdict["equal"] is True
    assert docker_engine.docker("ps", "-aq").stdout == ""


def test_a_worker_without_an_engine_hands_such_a_build_to_one_that_has_it(
    site: Site, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source(site, "1.0")
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("worker.building.enqueue_build", lambda *told: sent.append(told))
    unable = {"engine": "none", "broker_url": redis_server.url}
    kit = Services(site.settings.model_copy(update=unable))
    build = site.ask("sourceonly")
    with redis.Redis.from_url(redis_server.url) as broker:
        broker.set(ENGINE_ALIVE, 1, ex=60)
        building.build(kit, build)
        broker.delete(ENGINE_ALIVE)
    kit.close()
    row = site.row(build)
    assert (row.state, row.attempt, sent) == (BuildState.QUEUED, 1, [(build, "engine")])
    building.build(site.kit, build, "engine")
    row = site.row(build)
    assert (row.state, row.way) == (BuildState.READY, "layered"), row.error


def test_without_any_engine_the_package_is_named(site: Site, redis_server: RedisServer) -> None:
    source(site, "1.0")
    unable = {"engine": "none", "broker_url": redis_server.url}
    kit = Services(site.settings.model_copy(update=unable))
    build = site.ask("sourceonly")
    building.build(kit, build)
    kit.close()
    row = site.row(build)
    assert row.state is BuildState.FAILED
    assert row.error["type"] == "no-wheel"


def test_a_source_that_does_not_build_says_so_with_its_log(site: Site) -> None:
    source(site, "1.0", "def build_wheel(*_, **__):\n    raise SystemExit('no compiler here')\n")
    row = site.work("sourceonly")
    assert row.state is BuildState.FAILED
    assert row.error["type"] == "no-wheel"
    assert row.error["package"] == "sourceonly"
    assert "can't be built" in row.error["detail"]
    assert any("no compiler here" in event.message for event in site.events(row.id))
