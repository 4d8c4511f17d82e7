"""Disks that are full, under the cache and under the layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.stores.layout import LayoutStore
from catalog.states import BuildState
from worker.leftovers import remove_files

from .conftest import Site, tiny_base

Make = Callable[..., Site]
Disk = Callable[[int], Path]
MIB = 1 << 20


def files(folder: Path) -> set[str]:
    """Every file but those that say what a folder is or lock it."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "CACHEDIR.TAG"
    }


@pytest.fixture
def large(make_site: Make) -> Callable[..., Site]:
    """A site whose index has a wheel of 3 MB that nothing makes smaller."""

    def make(**settings: object) -> Site:
        site = make_site(**settings)
        site.index.wheel("large", files={"large/data": os.urandom(3 * MIB)})
        return site

    return make


def test_a_full_cache_is_a_sentence_and_the_next_build_goes_on(
    large: Callable[..., Site], make_disk: Disk
) -> None:
    disk = make_disk(2 * MIB)
    site = large(cache=disk, bytecode=False)
    row = site.work("large")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "disk-full"
    assert "disk" in row.error["detail"] and ";" in row.error["detail"]
    remove_files(site.kit)
    left = files(disk)
    assert not [name for name in left if "wheel-" in name or ".new-" in name or "build-" in name]
    assert site.made("one").number == 1


def test_a_full_layout_is_a_sentence_and_keeps_what_was_published(
    large: Callable[..., Site], make_disk: Disk
) -> None:
    disk = make_disk(2 * MIB)
    site = large(store=f"oci:{disk}/layout", bytecode=False)
    site.layout = disk / "layout"
    base = tiny_base(site.layout)
    site.add_base("auto")
    first = site.made("one")
    before = files(site.layout)
    row = site.work("large", "one", environment="alice/large")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "disk-full"
    store = LayoutStore(site.layout)
    assert store.manifest("alice/gan", first.digest) is not None
    assert not [name for name in files(site.layout) if name.startswith("ingest/")]
    assert before <= files(site.layout)
    assert base.digest
    assert site.made("two").number == 2


def test_a_disk_that_is_full_from_the_start_fails_builds_and_not_the_worker(
    make_site: Make, make_disk: Disk
) -> None:
    disk = make_disk(2 * MIB)
    site = make_site(cache=disk / "cache", bytecode=False)
    filler = os.open(disk / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        while os.write(filler, bytes(4096)):
            pass
    os.close(filler)
    row = site.work("one")
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == "disk-full", row.error
    (disk / "filler").unlink()
    assert site.made("one").number == 1
