"""Verifying and rebasing as a worker does them: over a catalog, a layout and a queue."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from rig.redis import RedisServer

from builder.errors import NotVerifiableError
from builder.model import CONFIG_TYPE, MANIFEST_TYPE, Descriptor
from builder.stores.protocol import Manifest
from catalog import bases, rebases, versions
from catalog.engine import reading, writing
from catalog.errors import BaseNotFoundError
from catalog.models import Version
from worker import app as queue
from worker import rebasing, verifying
from worker.jobs import SILENT_S, JobKind, Jobs

from .conftest import MINOR, PYTHON, Site, digest, tiny_base

Make = Callable[..., Site]


def quiet(_: object) -> None:
    pass


def latest(site: Site, name: str) -> Version:
    with reading(site.engine) as session:
        return versions.find(session, name, whole=True)


def rebased(site: Site, old: str, new: str, **more: Any) -> dict[str, dict[str, Any]]:
    order = rebasing.Order(old=old, new=new, **more)
    items = rebasing.run(site.kit, order, quiet)["items"]
    return {item["environment"]: item for item in items}


def test_a_version_is_rebased_once_says_from_which_and_verifies(site: Site) -> None:
    before = site.made("two")
    base = site.add_base("newer")
    would = rebased(site, "auto", "newer", dry_run=True)
    assert would == {
        "alice/gan": {"environment": "alice/gan", "version": 1, "state": "would-rebase"}
    }
    assert latest(site, "alice/gan").number == 1
    done = rebased(site, "auto", "newer")["alice/gan"]
    assert (done["state"], done["number"]) == ("rebased", 2)
    after = latest(site, "alice/gan")
    assert (after.number, after.rebased_from, after.base_digest) == (2, 1, base.digest)
    assert after.packages == before.packages and after.digest != before.digest
    assert done["image"] == after.image
    assert [layer["packages"] for layer in after.layers] == [
        layer["packages"] for layer in before.layers
    ]
    assert rebased(site, "auto", "newer") == {}
    for number in (1, 2):
        verdict = verifying.run(site.kit, f"alice/gan:{number}", quiet)
        assert verdict["equal"], verdict
        assert verdict["version"] == number
    assert not list(site.kit.scratch.path.glob("verify-*"))
    built = site.made("two", environment="alice/fresh", base="newer")
    assert built.digest == after.digest


def test_a_name_that_means_another_digest_now_is_a_base_to_go_to(site: Site) -> None:
    site.made("one")
    moved = tiny_base(site.layout, "other")
    record = moved.to_json() | {"name": "auto"}
    with writing(site.engine) as session:
        bases.add(session, name="auto", digest=moved.digest, image=moved.image, record=record)
    assert rebased(site, "auto", "auto")["alice/gan"]["state"] == "rebased"
    assert rebased(site, "auto", "auto") == {}


def test_only_what_was_chosen_goes_and_what_can_not_says_why(site: Site) -> None:
    for name in ("alice/one", "alice/two", "bob/one"):
        site.made("one", environment=name)
    site.add_base("newer")
    site.add_base("ancient", python="3.9.2")
    assert set(rebased(site, "auto", "newer", environments="alice/two")) == {"alice/two"}
    refused = rebased(site, "auto", "ancient", environments="alice/*")
    assert set(refused) == {"alice/one"}
    assert refused["alice/one"]["state"] == "refused"
    assert f"has Python 3.9.2, and the packages are for {MINOR}" in refused["alice/one"]["reason"]
    with pytest.raises(BaseNotFoundError):
        rebased(site, "auto", "nowhere")


def test_a_version_made_meanwhile_is_not_overtaken(site: Site) -> None:
    old = site.made("one==1.0")
    site.made("one==2.0")
    facts = rebases.Rebased("x@y", "sha256:y", "newer", "sha256:z", 1, [])
    with writing(site.engine) as session:
        assert rebases.add(session, old, [facts]) is None
    assert latest(site, "alice/gan").number == 2


def test_a_version_without_bytecode_is_verified_by_a_worker_that_compiles(make_site: Make) -> None:
    site = make_site(bytecode=False)
    plain = site.made("one")
    site.settings = site.settings.model_copy(update={"bytecode": True})
    site.kit.settings = site.settings
    verdict = verifying.run(site.kit, "alice/gan", quiet)
    assert (verdict["compiler"], verdict["equal"]) == (None, True)
    assert site.made("one", environment="alice/compiled").digest != plain.digest


def test_a_version_whose_compiler_is_not_here_is_not_called_unequal(site: Site) -> None:
    version = site.made("one")
    manifest = site.kit.store.manifest("alice/gan", version.digest)
    assert manifest is not None
    config = json.loads(manifest.data)["config"]["digest"]
    text = b"".join(site.kit.store.blob("alice/gan", config)).decode()
    # As it looks to a worker without the Python of the one that built it.
    foreign = text.replace(f"cpython-{PYTHON}", f"cpython-{MINOR}.99").encode()
    described = Descriptor(CONFIG_TYPE, digest(foreign), len(foreign))
    site.kit.store.put_blob("alice/gan", described, lambda: io.BytesIO(foreign))
    body = json.loads(manifest.data) | {"config": described.as_oci()}
    data = json.dumps(body).encode()
    site.kit.store.put_manifest("alice/gan", Manifest(MANIFEST_TYPE, digest(data), data))
    with writing(site.engine) as session:
        found = versions.find(session, "alice/gan")
        found.digest = found.images[0].digest = digest(data)
    with pytest.raises(NotVerifiableError, match=rf"compiled by CPython {MINOR}\.99"):
        verifying.run(site.kit, "alice/gan", quiet)


def test_a_job_is_done_by_a_worker_and_answers(
    make_site: Make, redis_server: RedisServer, start_worker: Any, monkeypatch: Any
) -> None:
    url = redis_server.new_database()
    site = make_site(broker_url=url, sweep_s=1)
    site.made("one")
    site.add_base("newer")
    start_worker(site)
    monkeypatch.setenv("KITBAG_BROKER_URL", url)
    queue.app.cache_clear()
    try:
        asked = queue.begin_job(JobKind.REBASE, {"old": "auto", "new": "newer"})
        with closing(Jobs(url)) as jobs:
            # As if the worker that began this one had been killed a while ago.
            left = jobs.add(JobKind.VERIFY, {"version": "alice/gan:1"})
            left |= {"state": "running", "attempt": 1, "beat": time.time() - SILENT_S}
            jobs._write(left)
            ends = time.monotonic() + 120
            while not all((jobs.get(each["id"]) or {})["result"] for each in (asked, left)):
                assert time.monotonic() < ends, (jobs.get(asked["id"]), jobs.get(left["id"]))
                time.sleep(0.1)
            done, again = jobs.get(asked["id"]), jobs.get(left["id"])
    finally:
        queue.app.cache_clear()
    assert done and again
    assert done["result"]["items"][0]["state"] == "rebased"
    assert (again["state"], again["attempt"], again["result"]["equal"]) == ("done", 2, True)
