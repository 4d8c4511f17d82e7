"""What a build with an engine starts from goes when the build ends, from engine and registry."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from rig.registry import Factory

from builder.bases.debian import debian
from builder.stores.open import open_store
from catalog import builds
from catalog.engine import reading
from catalog.states import BuildState
from worker import stages

from .conftest import CACHE, Workshop

pytestmark = pytest.mark.rig


def staged(workshop: Workshop, name: str, build: str) -> list[str]:
    """Where there is still something that the build started from."""
    assert workshop.engine is not None
    listed = workshop.engine.docker("images", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    found = [each for each in listed if f"/kitbag/stage/{name}:" in each]
    if workshop.kit.store.manifest(f"kitbag/stage/{name}", build) is not None:
        found.append("the registry")
    with reading(workshop.catalog) as session:
        if (noted := builds.get(session, build).stage) is not None:
            found.append(f"the catalog notes {noted}")
    return found


def test_a_build_that_ends_well_leaves_only_what_others_build_on(workshop: Workshop) -> None:
    build = workshop.ask({"postBuild": "#!/bin/sh\necho made > it\n"}, "stages/well")
    assert workshop.work(build).state is BuildState.READY
    assert staged(workshop, "stages/well", build) == []


def test_so_does_one_that_fails(workshop: Workshop) -> None:
    build = workshop.ask({"postBuild": "#!/bin/sh\nexit 3\n"}, "stages/fails")
    assert workshop.work(build).state is BuildState.FAILED
    assert staged(workshop, "stages/fails", build) == []


def test_what_was_built_before_from_the_same_files_needs_no_stage(workshop: Workshop) -> None:
    files = {"postBuild": "#!/bin/sh\necho the same > it\n"}
    first = workshop.build(files, "stages/same")
    build = workshop.ask(files, "stages/same")
    again = workshop.work(build)
    assert again.digest == first.digest
    assert any("built before from the same files" in line for line in workshop.log(build))
    assert staged(workshop, "stages/same", build) == []


def test_a_registry_that_deletes_nothing_is_lived_with_and_named_once(
    make_registry: Factory, make_workshop: Callable[..., Workshop], caplog: pytest.LogCaptureFixture
) -> None:
    host = make_registry(deletes=False).host
    store = open_store(f"registry://{host}/binder")
    base = debian(store, cache=CACHE, report=lambda _: None, name="auto")
    site = make_workshop(store=f"registry://{host}/binder", base=base)
    with caplog.at_level(logging.WARNING, stages.__name__):
        for number in range(2):
            files = {"postBuild": f"#!/bin/sh\necho {number}\n"}
            build = site.ask(files, "stages/kept")
            assert site.work(build).state is BuildState.READY
            assert staged(site, "stages/kept", build) == ["the registry"]
    said = [each.getMessage() for each in caplog.records if each.name == stages.__name__]
    assert len(said) == 1
    assert "its operator must enable it" in said[0]
