"""Builds of several images: for platforms, for accelerators, and for both."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from typing import Any

import pytest

from builder.bases.debian import check_platform
from builder.errors import BaseNotFoundError
from builder.model import Platform
from builder.stores.layout import LayoutStore
from catalog import versions
from catalog.engine import reading, writing
from catalog.models import Version
from catalog.states import BuildState
from worker import plan, rebasing, verifying
from worker.request import parse
from worker.run import Deadline, prepare

from .conftest import Site

BOTH = ("linux/amd64", "linux/arm64")
TAG = "cp{}{}-cp{}{}-manylinux_2_17_".format(*sys.version_info[:2], *sys.version_info[:2])
GPU = """
[tool.kitbag.accelerators.cpu]
[tool.kitbag.accelerators.cuda]
requirements = "requirements-gpu.txt"
"""
PROJECT = {
    "pyproject.toml": GPU,
    "requirements.txt": "one\nbig",
    "requirements-gpu.txt": "-r requirements.txt\nfast-cu12",
}


@pytest.fixture
def two(site: Site) -> Site:
    """A site with a base for each platform, and wheels that are pure, of both and of one."""
    site.add_base("auto", arch="arm64")
    big = {"big/__init__.py": "x = 1\n", "big/data.bin": bytes(1 << 20)}
    site.index.wheel("big", files=big, stored=["big/data.bin"])
    site.index.wheel("fast-cu12", "12.4")
    for machine in ("x86_64", "aarch64"):
        files = {"native/__init__.py": "y = 2\n", "native/lib.so": machine.encode()}
        site.index.wheel("native", files=files, tag=TAG + machine, purelib=False)
    site.index.wheel("only-here", tag=f"{TAG}x86_64", purelib=False)
    return site


def manifest(site: Site, digest: str) -> dict[str, Any]:
    found = LayoutStore(site.layout).manifest("alice/gan", digest)
    assert found is not None, digest
    return dict(json.loads(found.data))


def files_of(site: Site, version: Version, platform: str, package: str) -> dict[str, bytes]:
    """The files of the image's layer with the package in it."""
    image = versions.image_of(version, None, platform)
    digest = next(layer["digest"] for layer in image.layers if package in layer["packages"])
    packed = b"".join(LayoutStore(site.layout).blob("alice/gan", digest))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isfile() else None
            if content is not None:
                found[entry.name] = content.read()
    return found


def test_two_platforms_are_one_index_of_an_image_each(two: Site) -> None:
    version = two.made("native", "big", platforms=list(BOTH))
    index = manifest(two, version.digest)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert version.image.endswith(version.digest)
    platforms = [each["platform"] for each in index["manifests"]]
    assert platforms == [{"os": "linux", "architecture": arch} for arch in ("amd64", "arm64")]
    assert [each["digest"] for each in index["manifests"]] == [i.digest for i in version.images]
    for image, entry in zip(version.images, index["manifests"], strict=True):
        body = manifest(two, entry["digest"])
        blob = LayoutStore(two.layout).blob("alice/gan", body["config"]["digest"])
        config = json.loads(b"".join(blob))
        assert f"{config['os']}/{config['architecture']}" == image.platform
        assert [layer["digest"] for layer in body["layers"]] == [x["digest"] for x in image.layers]
    tags = json.loads((two.layout / "index.json").read_bytes())["manifests"]
    names = [each["annotations"]["org.opencontainers.image.ref.name"] for each in tags]
    assert sum(name.startswith("alice/gan:sha256-") for name in names) == 3


def test_an_image_of_one_platform_is_the_same_alone_and_in_an_index(two: Site) -> None:
    both = two.made("native", platforms=list(BOTH))
    for image in both.images:
        alone = two.made("native", environment="bob/alone", platform=image.platform)
        assert alone.digest == image.digest
        assert alone.images[0].index_digest is None


def test_pure_packages_share_their_layers_and_native_ones_their_bytecode(two: Site) -> None:
    version = two.made("native", "big", platforms=list(BOTH))
    first, second = version.images
    alike = {layer["digest"]: layer["packages"] for layer in first.layers}
    shared = [alike[x["digest"]] for x in second.layers if x["digest"] in alike]
    assert ["big"] in shared
    amd, arm = (files_of(two, version, platform, "native") for platform in BOTH)
    assert [n for n in amd if n.endswith("native/lib.so")] and amd.keys() == arm.keys()
    differ = {name.rpartition("/")[2] for name in amd if amd[name] != arm[name]}
    assert differ == {"lib.so", "RECORD", "WHEEL"}
    compiled = [name for name in amd if "/native/__pycache__/__init__.cpython-" in name]
    assert len(compiled) == 1 and amd[compiled[0]] == arm[compiled[0]]


def test_what_both_need_is_fetched_and_made_once(two: Site) -> None:
    row = two.work("native", "big", platforms=list(BOTH))
    assert row.stats is not None
    first, second = row.stats["images"]
    assert (first["platform"], second["platform"]) == BOTH
    assert second["bytes_downloaded"] < 1 << 20 < first["bytes_downloaded"]
    assert second["layers_known"] >= 1 and second["layers_known"] + second["layers_new"] > 1
    assert row.stats["bytes_moved"] == first["bytes_moved"] + second["bytes_moved"]
    about = {event.data.get("platform") for event in two.events(row.id) if event.kind == "progress"}
    assert about == set(BOTH)
    messages = [event.message for event in two.events(row.id)]
    assert any(message.startswith("cpu on linux/arm64: ") for message in messages)


def test_a_package_without_a_wheel_for_a_platform_is_named_with_it(two: Site) -> None:
    row = two.work("only-here", platforms=list(BOTH))
    assert row.error is not None and row.error["type"] == "no-wheel"
    assert row.error["package"] == "only-here"
    assert "on linux/arm64" in row.error["detail"]


def test_nothing_is_published_when_the_second_image_fails(two: Site) -> None:
    two.made("native", environment="bob/first", platform="linux/arm64")  # so that uv knows it
    arm = next(two.index.folder.glob("native-*aarch64.whl"))
    for cached in two.kit.settings.cache_root.glob("layers/*/*"):
        cached.unlink()
    arm.rename(arm.with_suffix(".away"))
    try:
        row = two.work("native", platforms=list(BOTH))
    finally:
        arm.with_suffix(".away").rename(arm)
    assert row.state is BuildState.FAILED
    assert b"alice/gan" not in (two.layout / "index.json").read_bytes()
    assert two.made("native", platforms=list(BOTH)).number == 1


def test_a_base_that_a_platform_lacks_is_named_with_what_to_do(two: Site) -> None:
    two.add_base("mine")
    row = two.work("one", base="mine", platforms=list(BOTH))
    assert row.error is not None and row.error["type"] == "base-not-found"
    assert row.error["detail"] == (
        "The base 'mine' is for linux/amd64, not for linux/arm64; add it for that: "
        "kitbag-server base add mine --image IMAGE --platform linux/arm64."
    )


def test_a_debian_base_for_another_machine_is_refused_before_it_is_made() -> None:
    check_platform(Platform())
    with pytest.raises(BaseNotFoundError, match="name a registry image for linux/arm64"):
        check_platform(Platform("linux", "arm64"))


def test_a_project_that_declares_accelerators_gets_an_image_for_each(two: Site) -> None:
    version = two.made(files=PROJECT)
    assert [image.accelerator for image in version.images] == ["cpu", "cuda"]
    assert version.accelerator == "cpu" and version.digest == version.images[0].digest
    names = [[package["name"] for package in image.packages] for image in version.images]
    assert names == [["big", "one", "pip"], ["big", "fast-cu12", "one", "pip"]]
    cuda = manifest(two, version.images[1].digest)
    blob = LayoutStore(two.layout).blob("alice/gan", cuda["config"]["digest"])
    assert "NVIDIA_REQUIRE_CUDA" in str(json.loads(b"".join(blob))["config"]["Env"])
    assert versions.references(version) == {i.accelerator: i.image for i in version.images}


def test_a_request_says_which_of_the_declared_ones(two: Site) -> None:
    version = two.made(files=PROJECT, accelerator="cuda")
    assert [image.accelerator for image in version.images] == ["cuda"]
    assert "fast-cu12" in {package["name"] for package in version.packages}
    (only,) = two.made(files=PROJECT, accelerators=["cpu"]).images
    assert only.accelerator == "cpu"
    both = two.made(files=PROJECT, accelerators=["cuda", "cpu"], platforms=list(BOTH))
    assert [(i.accelerator, i.platform) for i in both.images] == [
        (accelerator, platform) for accelerator in ("cuda", "cpu") for platform in BOTH
    ]
    assert len({image.index_digest for image in both.images}) == 2
    assert both.digest == both.images[0].index_digest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[tool.kitbag]\naccelerators = ["gpu"]', "names 'gpu'; known are cpu, cuda, tpu"),
        ('[tool.kitbag]\naccelerators = ["cpu", "cpu"]', "names one twice"),
        ("[tool.kitbag]\naccelerators = 3", "is not a list of names"),
        ("[tool.kitbag]\nplatforms = []", "means nothing; only 'accelerators' does"),
        ('[tool.kitbag.accelerators.cuda]\nfile = "x"', "means nothing; requirements, extras"),
        (
            '[tool.kitbag.accelerators.cuda]\nrequirements = "no.txt"',
            "names 'no.txt', which",
        ),
        ('[tool.kitbag.accelerators.cuda]\nrequirements = "../x"', "is not a path inside"),
        ("[tool.kitbag.accelerators.cuda]\nrequirements = 3", "is not the name of a file"),
    ],
)
def test_what_a_project_declares_wrongly_is_refused_with_its_line(
    site: Site, text: str, why: str
) -> None:
    row = site.work(files={"requirements.txt": "one", "pyproject.toml": f"# \n{text}\n"})
    assert row.error is not None and row.error["type"] == "invalid-request"
    assert why in row.error["detail"] and row.error["file"] == "pyproject.toml"
    assert row.error["line"] >= 2


def test_extras_of_a_pyproject_can_be_an_accelerators_own(two: Site) -> None:
    project = """
[project]
name = "x"
version = "1"
dependencies = ["one"]
[project.optional-dependencies]
gpu = ["fast-cu12"]
[tool.kitbag.accelerators.cpu]
[tool.kitbag.accelerators.cuda]
extras = ["gpu"]
"""
    version = two.made(files={"pyproject.toml": project})
    names = [[package["name"] for package in image.packages] for image in version.images]
    assert names == [["one", "pip"], ["fast-cu12", "one", "pip"]]


def test_a_plan_shows_each_image_and_counts_what_they_share_once(two: Site) -> None:
    source = {"files": PROJECT}
    asked = parse({"environment": "alice/gan", "source": source, "platforms": BOTH})
    folder = two.kit.scratch.path / "plan"
    prepared = prepare(two.kit, asked, folder, Deadline(60, lambda: False), lambda _: None)
    told = plan.describe(two.kit, asked, prepared, [])
    assert [(each["accelerator"], each["platform"]) for each in told["images"]] == [
        (accelerator, platform) for accelerator in ("cpu", "cuda") for platform in BOTH
    ]
    one, same, cuda, last = told["images"]
    assert same["bytes_to_move"] == same["bytes_to_download"] == last["bytes_to_move"] == 0
    assert 0 < cuda["bytes_to_download"] < one["bytes_to_download"] == one["bytes_to_move"]
    assert told["bytes_to_download"] == one["bytes_to_download"] + cuda["bytes_to_download"]
    assert told["packages"] == one["packages"] and one["cuda"] is None and cuda["cuda"]
    assert any(text.startswith("cpu on linux/arm64: ") for text in told["warnings"])
    version = two.made(files=PROJECT, platforms=list(BOTH))
    assert version.base_digest == told["base"]["digest"]
    again = plan.describe(two.kit, asked, prepared, [])
    assert again["bytes_to_move"] == sum(each["bytes_to_fetch"] for each in again["images"]) == 0


def test_all_images_of_a_version_are_verified(two: Site) -> None:
    version = two.made(files=PROJECT, platforms=list(BOTH))
    verdict = verifying.run(two.kit, "alice/gan", lambda _: None)
    assert verdict["equal"] and len(verdict["images"]) == 4
    assert [each["stored"] for each in verdict["images"]] == [i.digest for i in version.images]
    with writing(two.engine) as session:
        found = versions.find(session, "alice/gan")
        found.images[0].index_digest = "sha256:" + "0" * 64
    assert not verifying.run(two.kit, "alice/gan", lambda _: None)["equal"]


def test_a_rebase_moves_every_image_to_the_base_of_its_platform(two: Site) -> None:
    before = two.made(files=PROJECT, platforms=list(BOTH))
    amd = two.add_base("newer")
    order = rebasing.Order(old="auto", new="newer")

    def items() -> list[dict[str, Any]]:
        return list(rebasing.run(two.kit, order, lambda _: None)["items"])

    assert items()[0]["state"] == "refused"
    assert items()[0]["reason"] == "newer is for linux/amd64, not linux/arm64"
    arm = two.add_base("newer", arch="arm64")
    (done,) = items()
    assert done["state"] == "rebased"
    with reading(two.engine) as session:
        after = versions.find(session, "alice/gan", whole=True)
    assert done["image"] == after.image and after.number == 2
    assert [image.base_digest for image in after.images] == [amd.digest, arm.digest] * 2
    assert len({image.index_digest for image in (*before.images, *after.images)}) == 4
    assert verifying.run(two.kit, "alice/gan", lambda _: None)["equal"]
    built = two.made(files=PROJECT, platforms=list(BOTH), environment="bob/new", base="newer")
    assert built.digest == after.digest
    assert items() == []


def test_a_request_from_before_there_were_several_means_what_it_meant() -> None:
    old = parse({"environment": "a/b", "source": {"files": {"x": "y"}}, "accelerator": "cpu"})
    assert old.asked_accelerators() == ()
    assert old.builder_platforms() == (Platform(),)
