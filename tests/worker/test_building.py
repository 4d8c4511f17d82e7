"""One build in one process: what it makes, keeps, and says when it can't."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.git import GitServer
from rig.proxy import Proxy
from rig.registry import Registry

from builder.stores.copy import copy_image
from builder.stores.layout import LayoutStore
from builder.stores.open import open_store
from catalog import builds, runs, versions
from catalog.engine import reading, writing
from catalog.states import BuildState
from worker import building, identity, verifying

from .conftest import Site, tiny_base

Make = Callable[..., Site]


def test_a_build_ends_with_a_version_whose_image_is_all_there(site: Site) -> None:
    version = site.made("two")
    assert version.number == 1
    assert {p["name"]: p["version"] for p in version.packages} == {
        "one": "2.0",
        "two": "1.0",
        "pip": "1.0",
    }
    assert LayoutStore(site.layout).manifest("alice/gan", version.digest) is not None
    assert not list(site.kit.scratch.path.glob("build-*"))


def test_versions_stay_until_an_upgrade_is_asked_for(site: Site) -> None:
    site.made("one==1.0")
    kept = site.made("one")
    upgraded = site.made("one", upgrade=True)
    assert [p["version"] for p in kept.packages if p["name"] == "one"] == ["1.0"]
    assert [p["version"] for p in upgraded.packages if p["name"] == "one"] == ["2.0"]


def test_layers_are_packed_as_the_request_says_or_else_the_setting(make_site: Make) -> None:
    site = make_site(layer_compression="zstd")

    def types(version: versions.Version) -> set[str]:
        found = LayoutStore(site.layout).manifest("alice/gan", version.digest)
        assert found is not None
        return {layer["mediaType"].rpartition("+")[2] for layer in json.loads(found.data)["layers"]}

    packed, asked = site.made("one"), site.made("one", compression="gzip")
    assert types(packed) == {"gzip", "zstd"}, "the base and Kitbag's own layers stay gzip"
    assert types(asked) == {"gzip"}
    again = site.made("one", environment="alice/gan")
    assert again.digest == packed.digest
    with reading(site.engine) as session:
        build = builds.get(session, again.build_id)
        assert build.stats is not None and build.stats["layers_new"] == 0, "known by its own key"
        assert build.stats["bytes_downloaded"] == 0
    verdict = verifying.run(site.kit, f"alice/gan:{again.number}", lambda _: None)
    assert verdict["equal"]


def test_commit_and_branch_of_a_repository_are_told(site: Site, git_server: GitServer) -> None:
    repository = git_server.repository("worker-facts", {"requirements.txt": "one"})
    source = {"git": {"url": repository.http_url, "ref": "main"}}
    build_id = site.ask("ignored", source=source)
    building.build(site.kit, build_id)
    row = site.row(build_id)
    assert row.state is BuildState.READY, row.error
    assert row.commit and len(row.commit) == 40
    with reading(site.engine) as session:
        assert versions.find(session, "alice/gan", "main").commit == row.commit


def test_a_time_limit_is_a_failure_and_not_a_cancellation(make_site: Make) -> None:
    site = make_site(build_timeout_s=0.001)
    row = site.work("one")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "timed-out"
    assert "its limit of 0.001 s" in row.error["detail"]


def test_a_time_limit_ends_what_is_under_way(make_site: Make) -> None:
    site = make_site(build_timeout_s=1.5)
    site.network.delay_s = 20
    began = time.monotonic()
    row = site.work("one")
    assert time.monotonic() - began < 8
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "timed-out"


def test_a_cancelled_build_stops_and_publishes_nothing(make_site: Make) -> None:
    site = make_site(heartbeat_s=0.1)
    site.network.delay_s = 20
    build_id = site.ask("one")
    work = threading.Thread(target=building.build, args=(site.kit, build_id))
    work.start()
    site.wait(build_id, BuildState.RESOLVING)
    with writing(site.engine) as session:
        builds.request_cancel(session, build_id)
    began = time.monotonic()
    work.join(10)
    assert not work.is_alive() and time.monotonic() - began < 5
    assert site.row(build_id).state is BuildState.CANCELLED
    assert site.events(build_id)[-1].data["state"] == "cancelled"


def test_a_registry_that_wants_a_password_is_named_with_what_to_do(
    make_site: Make, basic_registry: Registry
) -> None:
    site = make_site(store=f"registry://{basic_registry.host}/refused")
    row = site.work("one")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "store-refused"
    assert basic_registry.host in row.error["detail"]
    assert "log in" in row.error["detail"] or "credentials" in row.error["detail"]


def test_a_registry_that_hangs_does_not_hold_up_a_cancellation(
    make_site: Make, registry: Registry, make_proxy: Callable[[int], Proxy]
) -> None:
    network = make_proxy(registry.port)
    site = make_site(store=f"registry://{network.host}/hangs", heartbeat_s=0.1)
    there = open_store(f"registry://{network.host}/hangs")
    base = tiny_base(site.layout)
    copy_image(LayoutStore(site.layout), "kitbag/base/auto", base.digest, there, "kitbag/base/auto")
    network.reset()
    network.delay_s = 30
    build_id = site.ask("one")
    work = threading.Thread(target=building.build, args=(site.kit, build_id))
    work.start()
    site.wait(build_id, BuildState.BUILDING)
    with writing(site.engine) as session:
        builds.request_cancel(session, build_id)
    work.join(8)
    assert not work.is_alive()
    assert site.row(build_id).state is BuildState.CANCELLED
    network.delay_s = 0
    network.reset()


def test_a_build_that_another_worker_got_is_left_alone(make_site: Make) -> None:
    site = make_site(heartbeat_s=0.1)
    site.network.delay_s = 3
    build_id = site.ask("one")
    work = threading.Thread(target=building.build, args=(site.kit, build_id))
    work.start()
    site.wait(build_id, BuildState.RESOLVING)
    with writing(site.engine) as session:
        runs.requeue(session, build_id, attempt=1)
        runs.claim(session, build_id, "another:1")
    work.join(20)
    assert not work.is_alive()
    row = site.row(build_id)
    assert (row.state, row.worker, row.attempt) == (BuildState.RESOLVING, "another:1", 2)


def test_a_build_of_a_living_worker_is_not_taken_over(site: Site) -> None:
    build_id = site.ask("one")
    with writing(site.engine) as session:
        runs.claim(session, build_id, identity.me())
    building.build(site.kit, build_id)
    assert site.row(build_id).attempt == 1
    assert site.row(build_id).state is BuildState.RESOLVING


def test_a_build_of_a_dead_process_is_taken_over_at_once(site: Site, dead_process: str) -> None:
    build_id = site.ask("one")
    with writing(site.engine) as session:
        runs.claim(session, build_id, dead_process)
    building.build(site.kit, build_id)
    row = site.row(build_id)
    assert (row.state, row.attempt, row.worker) == (BuildState.READY, 2, identity.me())


def test_a_build_that_kills_its_workers_fails_with_a_sentence(
    make_site: Make, dead_process: str
) -> None:
    site = make_site(max_attempts=2)
    build_id = site.ask("one")
    for _ in range(2):
        with writing(site.engine) as session:
            assert runs.claim(session, build_id, dead_process) is not None
        if site.row(build_id).attempt == 1:
            with writing(site.engine) as session:
                runs.requeue(session, build_id, attempt=1)
    building.build(site.kit, build_id)
    row = site.row(build_id)
    assert row.state is BuildState.FAILED
    assert row.error is not None
    assert row.error["detail"].startswith("2 workers died while they built this")


def test_a_message_about_a_build_that_never_was_does_nothing(site: Site) -> None:
    building.build(site.kit, "01" * 13)


def test_what_nobody_foresaw_ends_the_build_and_hides_nothing_in_the_sentence(
    site: Site, tmp_path: Path
) -> None:
    site.settings.data.mkdir(exist_ok=True)
    (site.settings.cache_root).mkdir(exist_ok=True)
    (site.settings.cache_root / "scratch").write_text("a file where a folder should be")
    row = site.work("one")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "internal"
    assert str(tmp_path) not in row.error["detail"]


def test_a_store_that_is_none_fails_each_build_with_a_sentence(make_site: Make) -> None:
    site = make_site(store="ftp://somewhere/else")
    row = site.work("one")
    assert row.state is BuildState.FAILED
    assert row.error is not None
    assert row.error["detail"].startswith("ftp:// is no kind of store")
    assert row.error["detail"].endswith(".")


@pytest.mark.parametrize(
    "request_of_another_release", [{"source": {"git": {"url": 1}}}, {"accelerator": "abacus"}]
)
def test_a_request_that_cannot_be_read_fails_with_a_sentence(
    site: Site, request_of_another_release: dict[str, object]
) -> None:
    row = site.work("one", **request_of_another_release)
    assert row.error is not None and row.error["type"] == "invalid-request"
    assert "the same release" in row.error["detail"]
