"""Which base is meant, and what a plan says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rig.registry import Registry

from builder.errors import (
    BaseNotFoundError,
    CancelledError,
    ConfigConflictError,
    GitRefusedError,
)
from builder.model import Platform, Step
from builder.stores.copy import copy_image
from builder.stores.layout import LayoutStore
from builder.stores.open import open_store
from catalog import versions
from catalog.engine import reading
from catalog.states import BuildState
from worker import bases, plan
from worker.deadline import Deadline
from worker.request import parse
from worker.run import prepare

from .conftest import MINOR, Site, tiny_base

Make = Callable[..., Site]
HERE = Platform()


def quiet(_: Step) -> None:
    pass


def described(
    site: Site, text: str = "", environment: str = "alice/gan", **more: Any
) -> dict[str, Any]:
    source = {"files": {"requirements.txt": text}}
    asked = parse({"environment": environment, "source": source} | more)
    folder = site.kit.scratch.path / f"plan-{len(list(site.kit.scratch.path.iterdir()))}"
    prepared = prepare(site.kit, asked, folder, Deadline(60, lambda: False), quiet)
    return plan.describe(site.kit, asked, prepared, [])


def test_a_plan_for_a_new_environment_moves_and_downloads_every_wheel(site: Site) -> None:
    told = described(site, "two")
    sizes = {p["name"]: p["size_bytes"] for p in told["packages"]}
    assert set(sizes) == {"one", "two", "pip"}
    assert told["bytes_to_move"] == told["bytes_to_download"] == sum(sizes.values())
    assert not any(p["known"] for p in told["packages"])
    assert told["layers"]["known"] == 0 and told["layers"]["new"] > 0
    assert told["python"].startswith(MINOR)
    assert any("JupyterLab" in warning for warning in told["warnings"])


def test_a_plan_for_what_was_built_moves_nothing(site: Site) -> None:
    version = site.made("two")
    told = described(site, "two")
    assert told["bytes_to_move"] == told["bytes_to_download"] == 0
    assert all(p["known"] for p in told["packages"])
    assert told["base"]["digest"] == version.base_digest


def test_a_plan_says_what_a_node_with_the_latest_version_fetches(site: Site) -> None:
    new = described(site, "two")
    base = new["image_bytes"] - sum(p["size_bytes"] for p in new["packages"])
    assert new["bytes_to_fetch"] == base + new["bytes_to_move"], "it has nothing yet"
    site.made("two")
    assert described(site, "two")["bytes_to_fetch"] == 0
    site.made("one", environment="bob/other")  # known to the registry, but not to alice's nodes
    told = described(site, "one")
    assert told["bytes_to_move"] == 0
    with reading(site.kit.engine) as session:
        layers = versions.find(session, "bob/other", whole=True).layers
        mine = {item["digest"] for item in versions.find(session, "alice/gan", whole=True).layers}
    lacking = [item for item in layers if item["packages"] and item["digest"] not in mine]
    assert told["bytes_to_fetch"] == sum(item["size_bytes"] for item in lacking)


def test_a_plan_counts_what_is_not_there_yet(site: Site) -> None:
    site.made("one==1.0")
    told = described(site, "one==2.0\ntwo")
    assert told["bytes_to_download"] == sum(
        p["size_bytes"] for p in told["packages"] if p["name"] != "pip"
    )


def test_a_layer_known_from_another_environment_is_not_moved(site: Site) -> None:
    site.made("two")
    told = described(site, "two", "bob/other")
    assert told["bytes_to_move"] == told["bytes_to_download"] == 0


def test_auto_is_the_base_of_that_name_or_one_whose_python_fits(site: Site) -> None:
    other = site.add_base("py39", "3.9.2")
    assert bases.find(site.kit, "auto", None, HERE, quiet).name == "auto"
    assert bases.find(site.kit, "auto", "3.9", HERE, quiet) == other
    assert bases.find(site.kit, "py39", None, HERE, quiet) == other


def test_a_named_base_with_another_python_is_refused(site: Site) -> None:
    site.add_base("py39", "3.9.2")
    with pytest.raises(BaseNotFoundError, match=r"has Python 3\.9\.2 on linux/amd64; ask for that"):
        bases.find(site.kit, "py39", "3.10", HERE, quiet)


def test_a_base_that_nobody_made_is_refused_with_what_to_do(site: Site) -> None:
    with pytest.raises(BaseNotFoundError, match="There is no base 'gpu'; see `kitbag-server base"):
        bases.find(site.kit, "gpu", None, HERE, quiet)


@pytest.mark.parametrize("python", ["2.7", "three", "3.11; rm", "3."])
def test_what_is_no_python_is_refused(site: Site, python: str) -> None:
    with pytest.raises(BaseNotFoundError, match=r"give one such as 3\.11"):
        bases.find(site.kit, "auto", python, HERE, quiet)


def test_auto_without_a_registry_or_a_debian_of_that_python_says_both(site: Site) -> None:
    with pytest.raises(
        BaseNotFoundError, match=r"No base has Python 3\.8: 127\.0\.0\.1:9 does not"
    ):
        bases.find(site.kit, "auto", "3.8", HERE, quiet)


def test_an_image_that_is_no_base_is_named_as_it_was_asked_for(
    site: Site, registry: Registry
) -> None:
    made = tiny_base(site.layout, "tiny")
    there = open_store(f"registry://{registry.host}")
    copy_image(LayoutStore(site.layout), "kitbag/base/tiny", made.digest, there, "worker/tiny")
    image = f"{registry.host}/worker/tiny@{made.digest}"
    with pytest.raises(BaseNotFoundError) as raised:
        bases.find(site.kit, image, None, HERE, quiet)
    assert raised.value.detail.startswith(f"{image} (an unnamed system) has no GNU C library")


def test_an_image_on_a_private_host_is_refused_where_users_are_strangers(make_site: Make) -> None:
    site = make_site(local=False)
    with pytest.raises(BaseNotFoundError, match="private"):
        bases.find(site.kit, "127.0.0.1:5000/x/y:1", None, HERE, quiet)


def test_making_a_base_is_not_waited_for_once_a_build_must_stop(site: Site) -> None:
    def stop() -> None:
        raise CancelledError("The build was cancelled.")

    site.settings.cache_root.mkdir(parents=True, exist_ok=True)
    with pytest.raises(CancelledError):
        bases.find(site.kit, "127.0.0.1:9/x/y:1", None, HERE, quiet, stop)


def test_private_repositories_need_the_operators_word(make_site: Make) -> None:
    strict = make_site(local=False)
    source = {"git": {"url": "https://127.0.0.1:1/x.git"}}
    row = strict.work("ignored", source=source)
    assert row.state is BuildState.FAILED
    assert row.error is not None and row.error["type"] == GitRefusedError.type


@pytest.fixture
def cuda_site(site: Site) -> Site:
    """An index with a framework, and NVIDIA's libraries of two majors as uv finds them on PyPI."""
    site.index.wheel("nvidia-cuda-runtime-cu12", "12.4.127")
    site.index.wheel("nvidia-cudnn-cu12", "9.1.0.70")
    needed = ["nvidia-cuda-runtime-cu12==12.4.127", "nvidia-cudnn-cu12"]
    site.index.wheel("torch", "2.6.0", requires=needed)
    site.index.wheel("nvidia-cuda-runtime-cu11", "11.8.89")
    return site


def test_a_plan_for_cuda_says_its_version_and_the_lowest_driver(cuda_site: Site) -> None:
    told = described(cuda_site, "torch", accelerator="cuda")["cuda"]
    assert (told["version"], told["cudnn"], told["driver"]) == ("12.4", "9.1.0.70", "525.60.13")
    assert described(cuda_site, "one", accelerator="cuda")["cuda"]["driver"] is None


def test_a_plan_for_cpus_warns_of_libraries_that_they_do_not_need(cuda_site: Site) -> None:
    told = described(cuda_site, "torch")
    assert told["cuda"] is None
    assert any("NVIDIA's libraries" in each for each in told["warnings"])
    gpu = described(cuda_site, "torch", accelerator="cuda")
    assert not any("NVIDIA's libraries" in each for each in gpu["warnings"])


def test_packages_for_two_majors_of_cuda_are_neither_planned_nor_built(cuda_site: Site) -> None:
    asked = "torch\nnvidia-cuda-runtime-cu11"
    with pytest.raises(
        ConfigConflictError, match=r"\(CUDA 12\) and .*-cu11 11\.8\.89 \(CUDA 11\.8\) clash"
    ):
        described(cuda_site, asked, accelerator="cuda")
    failed = cuda_site.work(*asked.splitlines(), accelerator="cuda")
    assert failed.state is BuildState.FAILED
    assert failed.error is not None and failed.error["type"] == "config-conflict"
    assert cuda_site.made("torch", accelerator="cuda").accelerator == "cuda"


def test_a_plan_says_what_the_binder_way_needs_and_that_nobody_can_do_it(make_site: Make) -> None:
    site = make_site(broker_url="redis://127.0.0.1:9/0", binder_packages=())
    files = {"requirements.txt": "two\n", "apt.txt": "hello\n", "postBuild": "#!/bin/sh\n"}
    told = described(site, source={"files": files})
    assert (told["way"], told["files"]) == ("binder", ["requirements.txt", "apt.txt", "postBuild"])
    assert [p["name"] for p in told["packages"]] == ["one", "pip", "two"]
    assert any("this server has none" in each for each in told["warnings"])


def test_a_plan_of_a_dockerfile_names_what_it_builds_on(make_site: Make) -> None:
    site = make_site(broker_url="redis://127.0.0.1:9/0")
    told = described(site, source={"files": {"Dockerfile": "ARG V=3\nFROM python:${V}\n"}})
    assert (told["way"], told["python"], told["packages"]) == ("binder", None, [])
    assert told["base"] == {"name": "Dockerfile", "image": "python:3", "digest": ""}
