"""What a repository may not do, and what is said then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Workshop

pytestmark = pytest.mark.rig


@pytest.mark.parametrize(
    ("files", "slug", "says"),
    [
        ({"apt.txt": "curl; touch /x\n"}, "invalid-request", "apt.txt, line 1: 'curl;'"),
        ({"apt.txt": "hello\n$(id)\n"}, "invalid-request", "apt.txt, line 2: '$(id)'"),
        ({"apt.txt": "--allow-unauthenticated\n"}, "invalid-request", "is no package"),
        ({"apt.txt": "bash-\n"}, "invalid-request", "'bash-' is no package"),
        ({"binder/a": "", ".binder/b": ""}, "config-conflict", "both 'binder/' and '.binder/'"),
        ({"poetry.lock": ""}, "invalid-request", "'poetry.lock' is not read"),
    ],
)
def test_a_bad_file_is_named(workshop: Workshop, files: dict[str, str], slug: str, says: str):
    error = workshop.fails(files)
    assert error["type"] == slug
    assert says in error["detail"]


def test_a_dockerfile_starts_only_from_registries_that_the_operator_allows(
    make_workshop: Callable[..., Workshop],
):
    strict = make_workshop(dockerfile_registries=frozenset({"registry.corp.example"}))
    error = strict.fails({"Dockerfile": "ARG X=docker.io/evil\nFROM ${X}/image\n"})
    assert error["type"] == "image-forbidden"
    assert "Dockerfile, line 2" in error["detail"]
    assert "registry.corp.example" in error["detail"]


def test_a_base_for_a_dockerfile_is_refused_rather_than_passed_over(workshop: Workshop):
    error = workshop.fails({"Dockerfile": "FROM scratch\n"}, base="auto")
    assert error["type"] == "invalid-request"
    assert "--base and --accelerator change nothing" in error["detail"]


def test_a_post_build_that_fails_says_so_and_keeps_its_log(workshop: Workshop):
    build = workshop.ask({"postBuild": "#!/bin/sh\necho before it broke\nexit 3\n"}, "bad/broken")
    done = workshop.work(build)
    assert (done.error or {})["type"] == "build-failed"
    assert any("before it broke" in line for line in workshop.log(build))


@pytest.mark.slow
def test_a_post_build_that_never_ends_is_stopped_at_the_time_limit(
    make_workshop: Callable[..., Workshop],
):
    hasty = make_workshop(build_timeout_s=20)
    error = hasty.fails({"postBuild": "#!/bin/sh\necho begun\nsleep 600\n"})
    assert error["type"] == "timed-out"
    assert hasty.engine is not None
    assert hasty.engine.docker("ps", "--quiet").stdout == ""


def test_a_log_without_end_is_cut_in_the_middle(workshop: Workshop):
    script = "#!/bin/sh\nseq 6000\necho the last line\n"
    build = workshop.ask({"postBuild": script}, "bad/loud")
    workshop.work(build)
    lines = workshop.log(build)
    assert len(lines) < 5000
    assert any("lines are left out here" in line for line in lines)
    assert any("the last line" in line for line in lines[-150:])
