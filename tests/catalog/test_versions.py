from __future__ import annotations

import pytest

from catalog import bases, diff, environments, layers, versions
from catalog.engine import reading, writing
from catalog.errors import BaseNotFoundError, EnvironmentNotFoundError, VersionNotFoundError
from catalog.layers import KnownLayer, Place

COMMIT = "c0ffee1" + "0" * 33


def test_versions_are_found_by_number_latest_commit_and_branch(shop):
    shop.new_version(commit=COMMIT, branches=["main", "feature/x"])
    shop.new_version(commit="d" * 40, branches=["main"])
    with reading(shop.engine) as session:

        def number(wanted):
            return versions.find(session, "alice/gan", wanted).number

        assert number("1") == 1
        assert number("latest") == 2
        assert number(COMMIT) == 1
        assert number("c0ffee1") == 1
        assert number("feature/x") == 1
        assert number("main") == 2
        assert versions.resolve(session, "alice/gan").number == 2
        assert versions.resolve(session, "alice/gan:feature/x").number == 1


@pytest.mark.parametrize("wanted", ["3", "0", "abc", "c0ffe", "c0ffee2", "nobranch", "", "%", "1 "])
def test_a_version_that_is_not_there_is_said_to_be_missing(shop, wanted):
    shop.new_version(commit=COMMIT, branches=["main"])
    with reading(shop.engine) as session, pytest.raises(VersionNotFoundError):
        versions.find(session, "alice/gan", wanted)


def test_a_commit_prefix_of_two_commits_is_refused(shop):
    shop.new_version(commit="aaaaaaa1" + "0" * 32)
    shop.new_version(commit="aaaaaaa2" + "0" * 32)
    with reading(shop.engine) as session:
        with pytest.raises(VersionNotFoundError, match="more digits"):
            versions.find(session, "alice/gan", "aaaaaaa")
        assert versions.find(session, "alice/gan", "aaaaaaa2").number == 2


def test_a_commit_built_twice_means_its_newest_version(shop):
    shop.new_version(commit=COMMIT)
    shop.new_version(commit=COMMIT)
    with reading(shop.engine) as session:
        assert versions.find(session, "alice/gan", COMMIT).number == 2


def test_a_digit_only_commit_is_found_where_no_such_number_is(shop):
    shop.new_version(commit="1234567" + "0" * 33)
    with reading(shop.engine) as session:
        assert versions.find(session, "alice/gan", "1234567").number == 1


def test_an_environment_that_nobody_built_has_no_versions(shop):
    with reading(shop.engine) as session:
        for name in ("alice/none", "alice", "", "a/b/c"):
            with pytest.raises(EnvironmentNotFoundError):
                versions.find(session, name)
    shop.ask(environment="alice/new")
    with reading(shop.engine) as session, pytest.raises(VersionNotFoundError, match="none"):
        versions.find(session, "alice/new")


def test_a_lock_is_kept_once_for_versions_that_share_it(shop):
    first, second = shop.new_version(), shop.new_version()
    third = shop.new_version(lock=None)
    assert first.lock_sha256 == second.lock_sha256
    with reading(shop.engine) as session:
        assert versions.lock_text(session, second) == 'lock-version = "1.0"\n'
        assert versions.lock_text(session, third) is None


def test_a_whole_version_has_its_packages_layers_and_refs(shop):
    shop.new_version(branches=["main"])
    with reading(shop.engine) as session:
        version = versions.find(session, "alice/gan", whole=True)
    assert [package["name"] for package in version.packages] == ["numpy"]
    assert [layer["digest"] for layer in version.layers] == ["sha256:1"]
    assert [ref.name for ref in version.refs] == ["main"]
    assert version.package_count == 1


def test_a_moved_branch_leaves_the_old_version(shop):
    shop.new_version(branches=["main"])
    shop.new_version(branches=["main"])
    with reading(shop.engine) as session:
        new, old = versions.history(session, "alice/gan")
    assert [ref.name for ref in new.refs] == ["main"]
    assert old.refs == []


def test_history_is_newest_first_and_pages(shop):
    for _ in range(5):
        shop.new_version()
    with reading(shop.engine) as session:
        first = versions.history(session, "alice/gan", limit=3)
        rest = versions.history(session, "alice/gan", limit=3, before=first[-1].number)
    assert [version.number for version in [*first, *rest]] == [5, 4, 3, 2, 1]


def test_a_rollback_is_a_new_number_with_the_old_image(shop):
    old = shop.new_version(digest="sha256:" + "1" * 64, branches=["main"])
    shop.new_version(digest="sha256:" + "2" * 64)
    with writing(shop.engine) as session:
        back = versions.rollback(session, "alice/gan", "1", created_by="bob")
    assert (back.number, back.image, back.created_by) == (3, old.image, "bob")
    with reading(shop.engine) as session:
        latest = versions.find(session, "alice/gan", whole=True)
        assert versions.lock_text(session, latest) == 'lock-version = "1.0"\n'
    assert latest.digest == old.digest
    assert latest.packages == [{"name": "numpy", "version": "2.0.0", "size_bytes": 900}]


def test_two_versions_differ_in_packages_base_and_layers(shop):
    def package(name, version):
        return {"name": name, "version": version, "size_bytes": 1}

    def layer(digest, size):
        return {"digest": digest, "size_bytes": size, "packages": []}

    shop.new_version(
        packages=[package("a", "1"), package("b", "1"), package("c", "1")],
        layers=[layer("x", 10), layer("y", 20)],
    )
    shop.new_version(
        packages=[package("b", "2"), package("c", "1"), package("d", "1")],
        layers=[layer("x", 10), layer("z", 5)],
        base_digest="sha256:other",
    )
    with reading(shop.engine) as session:
        before = versions.find(session, "alice/gan", "1", whole=True)
        after = versions.find(session, "alice/gan", "2", whole=True)
    found = diff.images(before.images[0], after.images[0])
    assert found.packages.added == [package("d", "1")]
    assert found.packages.removed == [package("a", "1")]
    assert found.packages.changed == [diff.Change("b", "1", "2", 1, 1)]
    assert found.base == ("sha256:" + "b" * 64, "sha256:other")
    assert (found.layers_shared, found.bytes_to_move) == (1, 5)
    assert found.layers_new == [layer("z", 5)]
    same = diff.images(after.images[0], after.images[0])
    assert (same.base, same.bytes_to_move, same.packages.changed) == (None, 0, [])


def test_environments_are_searched_by_part_of_the_name_and_paged(shop):
    for name in ("alice/gan", "alice/notebook", "bob/gan-2", "bob/ganx2"):
        shop.ask(key=name, environment=name)
    shop.finish(shop.ask(key="alice/gan", environment="alice/gan"))
    with reading(shop.engine) as session:

        def found(**wanted):
            return [home.full_name for home, _ in environments.search(session, **wanted)]

        assert found() == ["alice/gan", "alice/notebook", "bob/gan-2", "bob/ganx2"]
        assert found(query="GAN") == ["alice/gan", "bob/gan-2", "bob/ganx2"]
        assert found(query="n-2") == ["bob/gan-2"]
        assert found(query="alice/n") == ["alice/notebook"]
        assert found(namespace="bob") == ["bob/gan-2", "bob/ganx2"]
        assert found(limit=2, after="alice/gan") == ["alice/notebook", "bob/gan-2"]
        latest = [version and version.number for _, version in environments.search(session)]
    assert latest == [1, None, None, None]


def test_known_layers_come_back_by_key_and_the_newest_result_wins(shop):
    many = [KnownLayer(f"k{n}", f"d{n}", "diff", n, "gzip") for n in range(1200)]
    with writing(shop.engine) as session:
        layers.record(session, many)
        layers.record(session, [KnownLayer("k7", "new", "diff", 8, "zstd")])
    with writing(shop.engine) as session:
        layers.touch(session, ["k7"])
        found = layers.known(session, [*(layer.key for layer in many), "other"])
    assert len(found) == 1200
    assert found["k7"] == KnownLayer("k7", "new", "diff", 8, "zstd")
    assert found["k8"] == many[8]


def test_the_places_of_a_blob_are_told_apart_by_store(shop):
    with writing(shop.engine) as session:
        layers.place(session, [Place("d1", "s", "b"), Place("d1", "s", "a"), Place("d1", "t", "c")])
        layers.place(session, [Place("d1", "s", "a")])
        assert layers.places(session, ["d1", "d2"], "s") == {"d1": ["a", "b"]}
        layers.forget(session, [Place("d1", "s", "a"), Place("d1", "t", "other")])
        assert layers.places(session, ["d1"], "s") == {"d1": ["b"]}
        assert layers.places(session, ["d1"], "t") == {"d1": ["c"]}


def test_a_base_name_means_its_newest_digest_and_remembers_the_others(shop):
    def add(digest):
        with writing(shop.engine) as session:
            return bases.add(
                session, name="auto", digest=digest, image=f"r/b@{digest}", record={"name": "auto"}
            )

    for digest in ("d1", "d2", "d1"):
        assert add(digest).digest == digest
    with reading(shop.engine) as session:
        assert bases.get(session, "auto").digest == "d1"
        assert [base.digest for base in bases.every(session)] == ["d1"]
        assert [base.digest for base in bases.history(session, "auto")] == ["d1", "d2"]
        assert bases.current(session, "other") is None
        with pytest.raises(BaseNotFoundError):
            bases.get(session, "other")


def test_the_stamp_of_an_environment_changes_with_everything_that_its_names_stand_for(shop):
    def stamp():
        with reading(shop.engine) as session:
            found = environments.stamps(session, ["alice/gan", "no/one", "what", "a\0/b"])
        assert found.keys() == {"alice/gan"}
        return found["alice/gan"]

    shop.new_version(branches=["main"])
    seen = [stamp()]
    assert stamp() == seen[0]
    shop.new_version()
    seen.append(stamp())
    with writing(shop.engine) as session:
        versions.rollback(session, "alice/gan", "1")
    seen.append(stamp())
    with writing(shop.engine) as session:
        environments.touch(session, environments.get(session, "alice/gan").id)
    seen.append(stamp())
    assert len(set(seen)) == 4
