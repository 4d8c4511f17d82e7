"""Versions with several images, and what the migration makes of those from before there were."""

from __future__ import annotations

import json
import re

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from catalog import bases, builds, rebases, versions
from catalog.engine import make_engine, migrate, reading, writing
from catalog.errors import ImageNotFoundError
from catalog.models import Version
from catalog.versions import ImageFacts

from .conftest import Shop


def image(accelerator: str, platform: str, base: str = "sha256:b", **more: object) -> ImageFacts:
    digest = f"sha256:{accelerator}-{platform[-5:]}"
    facts = {"size_bytes": 5, "base_name": "auto", "base_digest": base, "lock": accelerator} | more
    return ImageFacts(f"r/a/b@{digest}", digest, accelerator, platform, **facts)  # type: ignore[arg-type]


def several(shop: Shop) -> Version:
    return shop.new_version(
        image="r/a/b@sha256:cpus",
        digest="sha256:cpus",
        images=[
            image("cpu", "linux/amd64", index_digest="sha256:cpus"),
            image("cpu", "linux/arm64", "sha256:arm", index_digest="sha256:cpus"),
            image("cuda", "linux/amd64", packages=[{"name": "torch", "version": "2"}]),
        ],
    )


def test_an_image_is_found_by_what_it_is_for(shop: Shop) -> None:
    several(shop)
    with reading(shop.engine) as session:
        found = versions.find(session, "alice/gan", whole=True)
        assert versions.references(found) == {
            "cpu": "r/a/b@sha256:cpus",
            "cuda": "r/a/b@sha256:cuda-amd64",
        }
        for digest in ("cpus", "cpu-amd64", "cpu-arm64", "cuda-amd64"):
            assert versions.is_built(session, f"sha256:{digest}")
        assert not versions.is_built(session, "sha256:cuda-arm64")
        assert versions.image_of(found) is found.images[0]
        assert versions.image_of(found, None, "linux/arm64").base_digest == "sha256:arm"
        cuda = versions.image_of(found, "cuda")
        assert cuda.packages == [{"name": "torch", "version": "2"}]
        assert (versions.lock_text(session, cuda), cuda.package_count) == ("cuda", 1)
        with pytest.raises(
            ImageNotFoundError, match="no image for cuda on linux/arm64: it has cpu"
        ):
            versions.image_of(found, "cuda", "linux/arm64")


def test_every_image_and_index_of_a_version_counts_as_built(shop: Shop) -> None:
    several(shop)
    with reading(shop.engine) as session:
        for digest in ("cpus", "cpu-amd64", "cpu-arm64", "cuda-amd64"):
            assert versions.is_built(session, f"sha256:{digest}")
        assert not versions.is_built(session, "sha256:b")


def test_a_rollback_brings_all_images_back(shop: Shop) -> None:
    old = several(shop)
    shop.new_version()
    with writing(shop.engine) as session:
        versions.rollback(session, "alice/gan", "1")
    with reading(shop.engine) as session:
        back = versions.find(session, "alice/gan", whole=True)
        before = versions.find(session, "alice/gan", "1", whole=True)
    assert back.number == 3 and back.digest == old.digest
    told = [(each.accelerator, each.platform, each.digest, each.packages) for each in back.images]
    assert told == [
        (each.accelerator, each.platform, each.digest, each.packages) for each in before.images
    ]


def test_a_version_waits_for_a_rebase_while_any_image_of_it_is_on_the_old_base(shop: Shop) -> None:
    several(shop)
    with writing(shop.engine) as session:
        assert rebases.waiting(session, "auto", ["sha256:b"], "*") == [("alice/gan", 1)]
        assert rebases.waiting(session, "auto", ["sha256:b", "sha256:arm"], "*") == []
        assert rebases.waiting(session, "sha256:arm", ["sha256:new"], "*") == [("alice/gan", 1)]
        old = versions.find(session, "alice/gan", whole=True)
        facts = [
            rebases.Rebased(f"r/a/b@{n}", f"sha256:{n}", "new", "sha256:new", 1, [], index)
            for n, index in enumerate(("sha256:index", "sha256:index", None))
        ]
        assert rebases.add(session, old, facts) == 2
    with reading(shop.engine) as session:
        new = versions.find(session, "alice/gan", whole=True)
    assert (new.image, new.digest) == ("r/a/b@sha256:index", "sha256:index")
    assert [each.digest for each in new.images] == ["sha256:0", "sha256:1", "sha256:2"]
    assert new.images[2].packages == old.images[2].packages


def test_a_version_answers_only_while_all_its_images_are_on_the_bases(shop: Shop) -> None:
    def add(digest: str, arch: str) -> None:
        record = {"platform": {"os": "linux", "arch": arch}}
        with writing(shop.engine) as session:
            bases.add(session, name="auto", digest=digest, image="r/b", record=record)

    add("sha256:b", "amd64")
    add("sha256:arm", "arm64")
    several(shop)
    both = frozenset({"sha256:b", "sha256:arm"})

    def answers(**how: object) -> bool:
        reuse = builds.Reuse(**how)  # type: ignore[arg-type]
        with reading(shop.engine) as session:
            return builds.find(session, "x", reuse_key="version-0", reuse=reuse) is not None

    assert answers(base_digests=both)
    assert not answers(base_digests=frozenset({"sha256:b"}))
    assert answers(current_base=True)
    add("sha256:arm-2", "arm64")
    assert not answers(current_base=True)


def test_a_name_means_one_base_a_platform(shop: Shop) -> None:
    with writing(shop.engine) as session:
        for arch, digest in (("arm64", "d1"), ("amd64", "d2"), ("arm64", "d3")):
            record = {"platform": {"os": "linux", "arch": arch}}
            bases.add(session, name="py", digest=digest, image=f"r/b@{digest}", record=record)
        assert bases.get(session, "py").digest == "d2"
        assert bases.get(session, "py", "linux/arm64").digest == "d3"
        assert [base.digest for base in bases.every(session)] == ["d2", "d3"]
        assert [base.digest for base in bases.history(session, "py")] == ["d3", "d2", "d1"]


def at(url: str, revision: str, *, up: bool = True) -> Engine:
    """The database once it is at a revision."""
    config = Config()
    config.set_main_option("script_location", "catalog:migrations")
    engine = make_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, revision)
    return engine


def test_versions_from_before_keep_what_they_held(url: str) -> None:
    engine = at(url, "0004")
    packages = [{"name": "numpy", "version": "2.0.0", "size_bytes": 900}]
    layers = [{"digest": "sha256:1", "size_bytes": 900, "packages": ["numpy"]}]
    with engine.begin() as connection:
        for statement in _OLD_ROWS:
            values = {"packages": json.dumps(packages), "layers": json.dumps(layers)}
            wanted = {key: value for key, value in values.items() if f":{key}" in statement}
            escaped = re.sub(r":(?=[ {])", r"\\:", statement)  # of JSON
            connection.execute(text(escaped), wanted)
    engine.dispose()

    migrate(url)

    engine = make_engine(url)
    with writing(engine) as session:
        version = versions.find(session, "alice/gan", whole=True)
        assert (version.packages, version.layers) == (packages, layers)
        (only,) = version.images
        assert (only.image, only.digest, only.index_digest) == ("r/a@d", "d", None)
        assert (only.accelerator, only.platform) == ("cuda", "linux/arm64")
        assert versions.lock_text(session, only) == "the lock"
        assert bases.get(session, "auto").platform == "linux/arm64"
        assert versions.rollback(session, "alice/gan", "1").number == 2
    engine.dispose()

    engine = at(url, "0004", up=False)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT packages, layers FROM versions")).all()
    read = [[json.loads(v) if isinstance(v, str) else v for v in row] for row in rows]
    assert read == [[packages, layers]] * 2
    engine.dispose()


_NOW = "'2026-01-01 00:00:00'"
_BASE = '{"platform": {"os": "linux", "arch": "arm64"}}'
_OLD_ROWS = [
    statement.format(now=_NOW, empty="{}", base=_BASE)
    for statement in (
        """INSERT INTO namespaces (name, created_at) VALUES ('alice', {now})""",
        """INSERT INTO environments (id, namespace, name, description, last_version, created_at,
        updated_at) VALUES (1, 'alice', 'gan', '', 1, {now}, {now})""",
        """INSERT INTO locks (sha256, text, created_at) VALUES ('l', 'the lock', {now})""",
        """INSERT INTO bases (id, name, digest, image, record, current, created_at)
        VALUES (1, 'auto', 'b', 'r/b', '{base}', true, {now})""",
        """INSERT INTO builds (id, environment_id, request, request_key, reuse_key, state, attempt,
        created_at, queued_at, created_by, last_seq)
        VALUES ('x', 1, '{empty}', 'k', 'k', 'ready', 1, {now}, {now}, '', 0)""",
        """INSERT INTO versions (id, environment_id, number, image, digest, request, request_key,
        content_key, lock_sha256, packages, package_count, layers, python, accelerator, base_name,
        base_digest, size_bytes, platform, build_id, created_at, created_by)
        VALUES (70, 1, 1, 'r/a@d', 'd', '{empty}', 'k', 'c', 'l', :packages, 1, :layers, '3.11',
        'cuda', 'auto', 'b', 900, 'linux/arm64', 'x', {now}, '')""",
    )
]
