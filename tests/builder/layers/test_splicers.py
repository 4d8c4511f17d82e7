"""Wheels spliced in processes of their own, and what becomes of those processes."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rig.wheels import WheelFactory

from builder.errors import BadWheelError
from builder.layers import splice, splicers, wheel
from builder.layers.archive import Written
from builder.layers.install import Prefix

PREFIX = Prefix("/opt/env", "3.11")


@pytest.fixture
def pool() -> Iterator[splicers.Splicers]:
    with splicers.Splicers(PREFIX) as made:
        yield made


@pytest.fixture
def some_wheel(wheel_factory: WheelFactory) -> Path:
    files = {f"many/m{n}.py": f"x = {n}\n" * n for n in range(300)}
    return wheel_factory.wheel("many", files={**files, "many/data": os.urandom(600_000)})


def children() -> set[int]:
    """Splicing processes of this one."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"builder.layers.splicers" in command:
            found.add(int(folder.name))
    return found


def written(pool: splicers.Splicers, path: Path, out: Path, **more: Any) -> Written:
    with out.open("w+b") as file:
        return pool.write_wheel(file, path, **more)


def test_a_process_writes_the_very_layer_that_is_written_here(
    pool: splicers.Splicers, some_wheel: Path, tmp_path: Path
) -> None:
    apart = written(pool, some_wheel, tmp_path / "apart")
    with (tmp_path / "here").open("wb") as out:
        here = splice.write_wheel(out, wheel.read(some_wheel), PREFIX)
    assert apart == here
    assert (tmp_path / "apart").read_bytes() == (tmp_path / "here").read_bytes()
    packed = (tmp_path / "apart").read_bytes()
    assert here.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"


def test_one_process_does_one_wheel_after_the_other_and_ends_with_the_pool(
    some_wheel: Path, tmp_path: Path
) -> None:
    before = children()
    with splicers.Splicers(PREFIX) as pool:
        assert children() == before
        written(pool, some_wheel, tmp_path / "one")
        first = children() - before
        written(pool, some_wheel, tmp_path / "two")
        assert children() - before == first
        assert len(first) == 1
    assert children() == before


def test_a_hostile_wheel_is_refused_by_the_same_sentence_and_the_process_goes_on(
    pool: splicers.Splicers, wheel_factory: WheelFactory, some_wheel: Path, tmp_path: Path
) -> None:
    evil = wheel_factory.wheel("evil", raw={"../../etc/passwd": b"x"})
    with pytest.raises(BadWheelError) as apart:
        written(pool, evil, tmp_path / "out")
    with pytest.raises(BadWheelError) as here:
        wheel.read(evil)
    assert str(apart.value) == str(here.value)
    before = children()
    written(pool, some_wheel, tmp_path / "out")
    assert children() == before


def test_a_full_disk_is_told_as_the_system_tells_it(
    pool: splicers.Splicers, some_wheel: Path
) -> None:
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb") as out:
        pool.write_wheel(out, some_wheel)


def test_a_process_that_was_killed_is_replaced_once(
    pool: splicers.Splicers, some_wheel: Path, tmp_path: Path
) -> None:
    before = children()
    whole = written(pool, some_wheel, tmp_path / "one")
    for pid in children() - before:
        os.kill(pid, signal.SIGKILL)
    assert written(pool, some_wheel, tmp_path / "two") == whole


def endless(path: Path) -> Path:
    """What looks like a file, and is never read to its end."""
    os.mkfifo(path)
    return path


def stopped(kill: Callable[[], None]) -> Callable[[], None]:
    """A check that does it once the process has begun."""

    def check() -> None:
        time.sleep(0.3)
        kill()

    return check


def test_killed_again_it_is_an_error_that_says_what_may_be_the_matter(
    pool: splicers.Splicers, tmp_path: Path
) -> None:
    before = children()

    def kill() -> None:
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)

    waits = endless(tmp_path / "waits.whl")
    with pytest.raises(splicers.SplicerDiedError, match=r"may lack memory: try again later\."):
        written(pool, waits, tmp_path / "out", check=stopped(kill))
    assert children() == before


def test_cancelled_in_mid_wheel_it_stops_and_leaves_no_process(
    pool: splicers.Splicers, tmp_path: Path
) -> None:
    before = children()

    class EnoughError(Exception):
        pass

    def enough() -> None:
        raise EnoughError

    waits = endless(tmp_path / "waits.whl")
    with pytest.raises(EnoughError):
        written(pool, waits, tmp_path / "out", check=enough)
    assert children() == before
