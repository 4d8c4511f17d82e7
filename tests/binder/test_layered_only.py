"""What holds for layered images alone is refused for those that code or files went into."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from builder.errors import NotVerifiableError
from builder.image import canonical, digest_of
from builder.model import Base
from builder.stores.protocol import Manifest
from catalog import bases, versions
from catalog.engine import reading, writing
from worker import rebasing, verifying

from .conftest import Workshop

pytestmark = pytest.mark.rig
START = '#!/bin/sh\nexec "$@"\n'


@pytest.fixture(scope="module")
def site(make_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop with a version by the engine, one with a repository's files, a layered one."""
    made = make_workshop()
    made.build({"postBuild": "#!/bin/sh\necho made > it\n"}, "refused/engine")
    made.build({"requirements.txt": "one\n", "start": START}, "refused/files")
    made.build({"requirements.txt": "one\n"}, "refused/none")
    return made


@pytest.fixture(scope="module")
def newer(site: Workshop, base: Base) -> Base:
    """The base under another digest, as one that was patched has."""
    repo = base.image.partition("/binder/")[2].partition("@")[0]
    known = site.kit.store.manifest(repo, base.digest)
    assert known is not None
    data = canonical(json.loads(known.data) | {"annotations": {"patched": "yes"}})
    found = Manifest(known.media_type, digest_of(data), data)
    site.kit.store.put_manifest(repo, found, tags=["newer"])
    image = site.kit.store.reference(repo, found.digest)
    made = replace(base, name="newer", digest=found.digest, image=image)
    with writing(site.catalog) as session:
        bases.add(session, name="newer", digest=made.digest, image=image, record=made.to_json())
    return made


@pytest.mark.parametrize("name", ["refused/engine", "refused/files"])
def test_what_code_or_files_made_is_not_verified(site: Workshop, name: str) -> None:
    with pytest.raises(NotVerifiableError, match="only layered images can be verified"):
        verifying.run(site.kit, name, lambda _: None)


def test_a_layered_version_beside_them_is_verified(site: Workshop) -> None:
    assert verifying.run(site.kit, "refused/none", lambda _: None)["equal"] is True


def test_of_three_environments_only_the_layered_one_moves_to_a_newer_base(
    site: Workshop, newer: Base
) -> None:
    order = rebasing.Order(old="auto", new="newer", environments="refused/*")
    items = {
        item["environment"]: item for item in rebasing.run(site.kit, order, lambda _: None)["items"]
    }
    states = {name: item["state"] for name, item in items.items()}
    assert states == {
        "refused/engine": "refused",
        "refused/files": "refused",
        "refused/none": "rebased",
    }
    reason = "its repository's own files and code are in it; build it anew"
    assert items["refused/engine"]["reason"] == items["refused/files"]["reason"] == reason
    with reading(site.catalog) as session:
        assert versions.find(session, "refused/engine", "latest").base_digest != newer.digest
