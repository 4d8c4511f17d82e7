"""The automatic base: a registry's Python image within reach, else Debian; the reason is said."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rig.process import free_port
from rig.registry import Registry

from builder.bases.auto import AWAY_S, DEFAULT_IMAGE, auto, open_registry
from builder.errors import BaseNotFoundError, InvalidSpecError
from builder.model import Platform, Step
from builder.stores.layout import LayoutStore
from builder.stores.open import open_store
from builder.stores.protocol import Store

from .conftest import DebianBase, Entry, Images
from .test_introspect import BASE, LIBC

HERE = Platform("linux", {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine])
AMD64 = Platform("linux", "amd64")


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.rig
def test_the_registrys_image_is_taken_when_it_answers(registry: Registry, tmp_path: Path) -> None:
    upstream = Images(open_store(f"registry://{registry.host}"), "auto/python")
    digest = upstream.push(BASE, tag="3.11-slim")
    steps: list[Step] = []
    base = auto(
        LayoutStore(tmp_path),
        python="3.11",
        image=f"{registry.host}/auto/python:{{python}}-slim",
        platform=AMD64,
        cache=tmp_path / "cache",
        report=steps.append,
    )
    assert base.digest == digest
    assert [step.message for step in steps] == [
        f"Base: {registry.host}/auto/python:3.11-slim, since {registry.host} answers."
    ]


@pytest.mark.rig
def test_an_image_with_another_python_is_refused(registry: Registry, tmp_path: Path) -> None:
    upstream = Images(open_store(f"registry://{registry.host}"), "auto/wrong")
    upstream.push([LIBC, Entry("usr/bin/python3.12", b"\x003.12.1\0")], tag="3.11")
    with pytest.raises(BaseNotFoundError, match=r"brings Python 3\.12, not 3\.11; correct the"):
        auto(
            LayoutStore(tmp_path),
            image=f"{registry.host}/auto/wrong:{{python}}",
            platform=AMD64,
            cache=tmp_path / "cache",
            report=lambda step: None,
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("why", ["deaf", "closed", "lacks it"])
def test_debian_is_taken_when_the_image_is_out_of_reach(
    why: str,
    debian_base: DebianBase,
    deaf_port: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    ports = {"deaf": lambda: deaf_port, "closed": free_port}
    port = ports.get(why, lambda: request.getfixturevalue("registry").port)()
    steps: list[Step] = []
    base = auto(
        LayoutStore(tmp_path),
        image=f"127.0.0.1:{port}/never/pushed:{{python}}",
        platform=HERE,
        cache=debian_base.cache,
        report=steps.append,
        patience_s=1,
    )
    assert base.digest == debian_base.base.digest
    assert steps[0].message.startswith("Base: Debian bookworm made on this machine, since ")
    assert f"127.0.0.1:{port}" in steps[0].message


def test_a_registry_that_never_answers_costs_little_time(deaf_port: int, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        BaseNotFoundError, match=r"No base has Python 3\.12: .* and Debian brings 3\.11 or 3\.13 on"
    ):
        auto(
            LayoutStore(tmp_path),
            python="3.12",
            image=f"127.0.0.1:{deaf_port}/python:{{python}}",
            platform=HERE,
            cache=tmp_path / "cache",
            report=lambda step: None,
            patience_s=1,
        )
    assert time.monotonic() - started < 4


def test_a_registry_that_did_not_answer_is_left_alone_for_a_while(tmp_path: Path) -> None:
    asked: list[str] = []

    def opener(host: str, deadline_s: float) -> Store:
        asked.append(host)
        return open_registry(host, deadline_s)

    port = free_port()

    def reason() -> str:
        with pytest.raises(BaseNotFoundError, match=r"No base has Python 3\.12") as caught:
            auto(
                LayoutStore(tmp_path),
                python="3.12",
                image=f"127.0.0.1:{port}/python:{{python}}",
                platform=HERE,
                cache=tmp_path / "cache",
                report=lambda step: None,
                opener=opener,
                patience_s=1,
            )
        return str(caught.value)

    assert "does not answer" in reason()
    assert "did not answer" in reason()
    assert len(asked) == 1
    (note,) = (tmp_path / "cache").glob("away-*")
    long_ago = time.time() - AWAY_S - 1
    os.utime(note, (long_ago, long_ago))
    assert "does not answer" in reason()
    assert len(asked) == 2


def test_a_python_that_is_none_names_no_image(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError):
        auto(
            LayoutStore(tmp_path),
            python="3.11/../../etc",
            image=DEFAULT_IMAGE,
            platform=HERE,
            cache=tmp_path,
            report=lambda step: None,
        )
