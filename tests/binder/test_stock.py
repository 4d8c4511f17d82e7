"""repo2docker's own buildpacks, as far as a machine without conda's channels can build them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rig.http import QuietHandler, serve

from .conftest import Workshop

pytestmark = [pytest.mark.rig, pytest.mark.slow]


def test_conda_asks_the_operators_mirror_for_micromamba(make_workshop: Callable[..., Workshop]):
    asked: list[str] = []

    class Mirror(QuietHandler):
        def answer(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with serve(Mirror) as port:
        mirror = f"http://127.0.0.1:{port}"
        site = make_workshop(
            mirrors=(
                f"https://anaconda.org/={mirror}/anaconda/",
                f"https://conda.anaconda.org/={mirror}/conda/",
            )
        )
        files = {"environment.yml": "dependencies:\n  - python=3.11\n  - numpy\n"}
        build = site.ask(files, "stock/conda", base="auto")
        done = site.work(build)
    log = site.log(build)
    assert "repo2docker's CondaBuildPack" in log
    # The script of repo2docker's ran in the engine, on our base, and came as far as the download.
    assert asked and asked[0].startswith("/anaconda/conda-forge/micromamba/"), log[-20:]
    assert (done.error or {})["type"] == "build-failed"
    assert not any("anaconda.org/" in line for line in log)
