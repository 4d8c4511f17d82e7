"""Which versions hold a package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from catalog import holders, rebases, versions
from catalog.engine import make_engine, migrate, reading, writing
from catalog.errors import InvalidRequirementError
from catalog.rebases import Rebased
from catalog.scope import Scope, within
from catalog.versions import ImageFacts


def packages(**named):
    return [
        {"name": name.replace("_", "-"), "version": version, "size_bytes": 1}
        for name, version in named.items()
    ]


def holding(engine, requirement, **options):
    with reading(engine) as session:
        found = holders.holding(session, requirement, **options)
    return [(item.environment, item.number, item.releases) for item in found.items]


@pytest.mark.parametrize(
    ("requirement", "found"),
    [
        ("urllib3<2.5", ["2.4.0"]),
        ("urllib3", ["2.4.0"]),
        ("URLLIB3 >=2.4,<2.4.1", ["2.4.0"]),
        ("urllib3>=2.5", []),
        ("urllib", []),
        ("zope.interface==7.0rc1", ["7.0rc1"]),
        ("zope_interface<7", []),  # PEP 440: not a pre-release of 7 itself
        ("zope_interface<7.1", ["7.0rc1"]),
        ("oddity", ["2004d-1.x"]),
        ("oddity>1", []),
    ],
)
def test_a_package_is_found_by_its_name_and_a_range_of_versions(shop, requirement, found):
    shop.new_version(
        packages=packages(urllib3="2.4.0", zope_interface="7.0rc1", oddity="2004d-1.x")
    )
    held = holding(shop.engine, requirement)
    assert held == [("alice/gan", 1, tuple(found))] * len(found)


@pytest.mark.parametrize("text", ["<2", "", "a b", "a @ https://x.example/a", "a[b]", "a; b", "\0"])
def test_what_is_no_range_of_a_package_is_refused(shop, text):
    with pytest.raises(InvalidRequirementError, match="write it like"):
        holding(shop.engine, text)


def test_the_latest_versions_are_looked_into_unless_every_one_is_asked_for(shop):
    shop.new_version(packages=packages(six="1.16"))
    shop.new_version(packages=packages(six="1.17"))
    assert holding(shop.engine, "six<1.17") == []
    assert holding(shop.engine, "six<1.17", every=True) == [("alice/gan", 1, ("1.16",))]


def test_releases_of_all_images_of_a_version_count(shop):
    images = [
        ImageFacts(
            image=f"r/alice/gan@sha256:{number:064x}",
            digest=f"sha256:{number:064x}",
            accelerator=accelerator,
            platform="linux/amd64",
            base_name="auto",
            base_digest="sha256:" + "b" * 64,
            size_bytes=1,
            packages=packages(torch=version),
        )
        for number, (accelerator, version) in enumerate([("cpu", "2.9+cpu"), ("cuda", "2.9+cu128")])
    ]
    shop.new_version(images=images)
    assert holding(shop.engine, "torch==2.9") == [("alice/gan", 1, ("2.9+cpu", "2.9+cu128"))]


def test_what_is_rolled_back_or_rebased_holds_what_it_held(shop):
    shop.new_version(packages=packages(six="1.16"))
    shop.new_version(packages=packages(six="1.17"))
    with writing(shop.engine) as session:
        versions.rollback(session, "alice/gan", "1")
    assert holding(shop.engine, "six<1.17") == [("alice/gan", 3, ("1.16",))]
    with writing(shop.engine) as session:
        old = versions.find(session, "alice/gan", whole=True)
        facts = Rebased("r/x@sha256:1", "sha256:1", "b", "sha256:" + "d" * 64, 1, [])
        assert rebases.add(session, old, [facts]) == 4
    assert holding(shop.engine, "six<1.17") == [("alice/gan", 4, ("1.16",))]


def test_pages_follow_each_other_without_a_gap(shop):
    for name in ("alice/b", "alice/a", "bob/a"):
        for number in range(2):
            asked = shop.ask(key=f"{name}-{number}", environment=name)
            shop.finish(asked, packages=packages(six="1.16"))
    seen, after = [], None
    while True:
        with reading(shop.engine) as session:
            page = holders.holding(session, "six", every=True, after=after, limit=2)
        assert page.total == 6
        seen += [(item.environment, item.number) for item in page.items]
        if not page.more:
            break
        after = seen[-1]
    names = ("alice/a", "alice/b", "bob/a")
    assert seen == [(name, number) for name in names for number in (2, 1)]


def test_what_is_outside_of_the_scope_is_neither_shown_nor_counted(shop):
    for name in ("alice/gan", "bob/gan"):
        shop.finish(shop.ask(key=name, environment=name), packages=packages(six="1.16"))
    fenced = within(shop.engine, Scope(names=frozenset({"bob"})))
    with reading(fenced) as session:
        found = holders.holding(session, "six")
    assert ([item.environment for item in found.items], found.total) == (["bob/gan"], 1)


def test_versions_from_before_the_table_are_in_it_after_the_migration(url):
    engine = make_engine(url)
    migrate(url)
    migrations = Config()
    migrations.set_main_option("script_location", str(Path("catalog/migrations").absolute()))
    with engine.begin() as connection:
        migrations.attributes["connection"] = connection
        command.downgrade(migrations, before(migrations, "version_packages"))
    row = {
        "namespaces": {"name": "alice", "created_at": "2026-01-01"},
        "environments": {
            "id": 1, "namespace": "alice", "name": "gan", "description": "", "last_version": 1,
            "offered": False, "created_at": "2026-01-01", "updated_at": "2026-01-01",
        },
    }  # fmt: skip
    with engine.begin() as connection:
        for table, values in row.items():
            _insert(connection, table, values)
        _insert(connection, "builds", {
            "id": "b1", "environment_id": 1, "request": "{}", "request_key": "k", "reuse_key": "k",
            "state": "ready", "attempt": 1, "created_at": "2026-01-01", "queued_at": "2026-01-01",
            "created_by": "", "last_seq": 0,
        })  # fmt: skip
        _insert(connection, "versions", {
            "id": 7, "environment_id": 1, "number": 1, "image": "r/x@sha256:1",
            "digest": "sha256:1", "request": "{}", "request_key": "k", "content_key": "c",
            "package_count": 2, "python": "3.11", "accelerator": "cpu", "base_name": "auto",
            "base_digest": "sha256:b", "size_bytes": 1, "platform": "linux/amd64",
            "build_id": "b1", "created_at": "2026-01-01", "created_by": "",
        })  # fmt: skip
        held = json.dumps(packages(Zope_Interface="7.0", six="1.16"))
        _insert(connection, "version_images", {
            "version_id": 7, "position": 0, "accelerator": "cpu", "platform": "linux/amd64",
            "image": "r/x@sha256:1", "digest": "sha256:1", "base_name": "auto",
            "base_digest": "sha256:b", "packages": held, "package_count": 2, "layers": "[]",
            "size_bytes": 1,
        })  # fmt: skip
    migrate(url)
    assert holding(engine, "zope.interface") == [("alice/gan", 1, ("7.0",))]
    assert holding(engine, "six==1.16") == [("alice/gan", 1, ("1.16",))]
    with writing(engine) as session:
        holders.keep_releases(session, 7, [("new", "1")])  # the ids go on where they were
    assert holding(engine, "new") == [("alice/gan", 1, ("1",))]
    engine.dispose()


def before(migrations, name):
    """The revision before the one whose file has that name."""
    scripts = ScriptDirectory.from_config(migrations).walk_revisions()
    return next(each.down_revision for each in scripts if each.path.endswith(f"_{name}.py"))


def _insert(connection, table, values):
    columns = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})'), values)
