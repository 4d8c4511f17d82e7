"""Versions are copied to the registries of their targets, whatever those do meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from rig.process import Daemon
from rig.proxy import Proxy
from rig.redis import RedisServer
from rig.registry import Registry

from builder.stores.layout import LayoutStore
from builder.stores.open import open_store
from catalog import mirrors, targets, versions
from catalog.engine import reading, writing
from catalog.errors import LostMirrorError, NotMirroredError, TargetNotFoundError
from catalog.models import Version
from catalog.target_models import Mirror, MirrorState
from worker import identity, mirroring

from .conftest import Site

pytestmark = pytest.mark.rig
Make = Callable[..., Site]
REPO = "alice/gan"


@pytest.fixture
def heavy(make_site: Make) -> Site:
    """A site with a wheel of 600 kB that does not shrink; what fails is only tried when told."""
    site = make_site(mirror_retry_s=600)
    site.index.wheel(
        "heavy",
        files={"heavy/__init__.py": "", "heavy/noise.bin": random.Random(7).randbytes(600_000)},
        stored=["heavy/noise.bin"],
    )
    return site


def add(site: Site, name: str, host: str, prefix: str, namespace: str = "alice") -> None:
    with writing(site.engine) as session:
        target = targets.add(session, namespace, name, f"registry://{host}/{prefix}")
        mirrors.plan_newest(session, target)


def mirror_of(site: Site, version: Version, name: str) -> Mirror:
    with reading(site.engine) as session:
        found = mirrors.of_version(session, version)
        return next(mirror for mirror in found if mirror.target.name == name)


def is_there(version: Version, host: str, prefix: str) -> bool:
    """Whether the registry answers with the very bytes of the version's digest."""
    store = open_store(f"registry://{host}/{prefix}")
    found = store.manifest(REPO, version.digest)
    return found is not None and found.digest == version.digest


def retry(site: Site, name: str) -> None:
    with writing(site.engine) as session:
        targets.retry(session, "alice", name)


@contextmanager
def mirroring_in(site: Site) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=mirroring.mirror, args=(site.kit,), daemon=True)
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def until(true: Callable[[], bool], timeout_s: float = 30) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def test_a_version_is_named_at_a_target_once_its_digest_is_there(
    heavy: Site, registry: Registry
) -> None:
    add(heavy, "gcp", registry.host, "near/one")
    version = heavy.made("heavy")
    with reading(heavy.engine) as session, pytest.raises(NotMirroredError) as raised:
        mirrors.near(session, version, "gcp")
    assert raised.value.planned and "being copied" in str(raised.value)
    assert mirroring.due(heavy.kit)
    mirroring.mirror(heavy.kit)
    with reading(heavy.engine) as session:
        near = mirrors.near(session, version, "gcp")
    assert near.references == {"cpu": f"{registry.host}/near/one/{REPO}@{version.digest}"}
    assert is_there(version, registry.host, "near/one")
    assert mirror_of(heavy, version, "gcp").copied_bytes > 600_000
    assert not mirroring.due(heavy.kit)


def test_a_slow_registry_does_not_hold_up_another(
    heavy: Site, registry: Registry, make_proxy: Callable[[int], Proxy]
) -> None:
    slow = make_proxy(registry.port)
    slow.bytes_per_s = 20_000
    add(heavy, "slow", slow.host, "near/slow")
    add(heavy, "quick", registry.host, "near/quick")
    version = heavy.made("heavy")
    with mirroring_in(heavy):
        assert until(lambda: mirror_of(heavy, version, "quick").state is MirrorState.DONE)
        assert mirror_of(heavy, version, "slow").state is MirrorState.COPYING
        newer = heavy.made("heavy", "two")
        assert until(lambda: mirror_of(heavy, newer, "quick").state is MirrorState.DONE)
        assert mirror_of(heavy, version, "slow").state is MirrorState.COPYING
        slow.bytes_per_s = None
    for each in (version, newer):
        assert is_there(each, registry.host, "near/slow")
        assert is_there(each, registry.host, "near/quick")


def test_a_registry_that_dies_in_mid_copy_gets_the_rest_when_it_is_back(
    heavy: Site, make_registry: Callable[[], Registry], make_proxy: Callable[[int], Proxy]
) -> None:
    dying = make_registry()
    line = make_proxy(dying.port)
    add(heavy, "gcp", line.host, "near")
    version = heavy.made("heavy", "two")
    line.die_after_bytes = 150_000
    mirroring.mirror(heavy.kit)
    dying.kill()
    failed = mirror_of(heavy, version, "gcp")
    assert (failed.state, failed.tries) == (MirrorState.PENDING, 1)
    assert line.host in failed.problem
    with reading(heavy.engine) as session, pytest.raises(NotMirroredError, match="failed"):
        mirrors.near(session, version, "gcp")
    landed = set(dying.blobs())
    assert 0 < len(landed) < len(version.layers) + 1
    assert not mirroring.due(heavy.kit)
    line.die_after_bytes = None
    dying.start()
    retry(heavy, "gcp")
    mirroring.mirror(heavy.kit)
    assert is_there(version, line.host, "near")
    done = mirror_of(heavy, version, "gcp")
    assert (done.state, done.problem) == (MirrorState.DONE, "")
    for digest in landed:
        assert len(stored(dying, digest)) == 1, digest


def stored(registry: Registry, digest: str) -> list[str]:
    """The requests that ended an upload of the blob, as the registry wrote them down."""
    name = digest.removeprefix("sha256:")
    return [row for row in registry.log.splitlines() if name in row and '"PUT /v2/' in row]


def test_a_blob_that_lies_elsewhere_at_the_target_is_mounted_there(
    heavy: Site, registry: Registry
) -> None:
    add(heavy, "gcp", registry.host, "near/mounts")
    heavy.made("heavy")
    mirroring.mirror(heavy.kit)
    second = heavy.made("heavy", environment="alice/other")
    mirroring.mirror(heavy.kit)
    copied = mirror_of(heavy, second, "gcp")
    assert copied.state is MirrorState.DONE
    assert copied.copied_bytes < 50_000


def test_what_is_there_is_not_copied_again(heavy: Site, registry: Registry) -> None:
    add(heavy, "gcp", registry.host, "near/again")
    version = heavy.made("heavy")
    mirroring.mirror(heavy.kit)
    with writing(heavy.engine) as session:
        back = versions.rollback(session, REPO, str(version.number))
    mirroring.mirror(heavy.kit)
    assert mirror_of(heavy, back, "gcp").state is MirrorState.DONE
    assert mirror_of(heavy, back, "gcp").copied_bytes == 0


def test_an_index_is_copied_with_the_images_of_all_platforms(
    heavy: Site, registry: Registry
) -> None:
    heavy.add_base("auto", arch="arm64")
    add(heavy, "gcp", registry.host, "near/index")
    version = heavy.made("heavy", platforms=["linux/amd64", "linux/arm64"])
    mirroring.mirror(heavy.kit)
    assert is_there(version, registry.host, "near/index")
    store, here = open_store(f"registry://{registry.host}/near/index"), LayoutStore(heavy.layout)
    for image in version.images:
        assert store.manifest(REPO, image.digest) == here.manifest(REPO, image.digest)
        assert not store.missing(REPO, [str(layer["digest"]) for layer in image.layers])


def test_a_target_gets_what_is_latest_when_it_is_added_and_when_it_moves(
    heavy: Site, registry: Registry
) -> None:
    version = heavy.made("heavy")
    add(heavy, "gcp", registry.host, "near/late")
    mirroring.mirror(heavy.kit)
    assert is_there(version, registry.host, "near/late")
    add(heavy, "gcp", registry.host, "near/moved")
    with reading(heavy.engine) as session, pytest.raises(NotMirroredError):
        mirrors.near(session, version, "gcp")
    mirroring.mirror(heavy.kit)
    assert is_there(version, registry.host, "near/moved")


def test_a_namespace_has_its_own_target_instead_of_that_of_all(
    heavy: Site, registry: Registry
) -> None:
    add(heavy, "gcp", registry.host, "near/all", namespace="*")
    add(heavy, "gcp", registry.host, "near/own")
    mine = heavy.made("heavy")
    other = heavy.made("heavy", environment="bob/gan")
    mirroring.mirror(heavy.kit)
    with reading(heavy.engine) as session:
        assert "near/own/alice/gan@" in mirrors.near(session, mine, "gcp").references["cpu"]
        assert "near/all/bob/gan@" in mirrors.near(session, other, "gcp").references["cpu"]
        with pytest.raises(TargetNotFoundError, match="it has gcp;"):
            mirrors.near(session, mine, "aws")


def test_a_copy_of_a_dead_worker_is_taken_over_and_its_word_no_longer_counts(
    heavy: Site, registry: Registry, dead_process: str
) -> None:
    add(heavy, "gcp", registry.host, "near/dead")
    version = heavy.made("heavy")
    lease = timedelta(hours=1)
    with writing(heavy.engine) as session:
        [left] = mirrors.due(session)
        assert mirrors.claim(session, left, dead_process, lease) is not None
        assert mirrors.claim(session, left, identity.me(), lease) is None
    assert mirroring.due(heavy.kit)
    mirroring.mirror(heavy.kit)
    assert mirror_of(heavy, version, "gcp").state is MirrorState.DONE
    with pytest.raises(LostMirrorError), writing(heavy.engine) as session:
        mirrors.finish(session, left, 1)


def test_a_target_that_goes_while_it_is_copied_to_is_forgotten(
    heavy: Site, registry: Registry, make_proxy: Callable[[int], Proxy]
) -> None:
    slow = make_proxy(registry.port)
    slow.bytes_per_s = 50_000
    add(heavy, "gcp", slow.host, "near/gone")
    version = heavy.made("heavy")
    with mirroring_in(heavy):
        assert until(lambda: mirror_of(heavy, version, "gcp").state is MirrorState.COPYING)
        with writing(heavy.engine) as session:
            targets.remove(session, "alice", "gcp")
        slow.bytes_per_s = None
    with reading(heavy.engine) as session:
        assert mirrors.of_version(session, version) == []


def test_workers_copy_what_they_built(
    make_site: Make,
    start_worker: Callable[..., Daemon],
    redis_server: RedisServer,
    registry: Registry,
) -> None:
    site = make_site(broker_url=redis_server.url, sweep_s=0.5)
    add(site, "gcp", registry.host, "near/workers")
    start_worker(site, "--concurrency", "2")
    build = site.wait(site.ask("two"))
    with reading(site.engine) as session:
        version = versions.find(session, REPO, str(build.version))
    assert until(lambda: mirror_of(site, version, "gcp").state is MirrorState.DONE)
    assert is_there(version, registry.host, "near/workers")
