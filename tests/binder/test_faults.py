"""What code and machines may do in the middle of a build: the state is right, and nothing is left.

Each is shown on the way that users' builds go: a request in the catalog, a worker, a real engine.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rig.docker import DockerEngine
from rig.git import GitServer
from rig.process import Daemon
from rig.proxy import Proxy
from rig.redis import RedisServer
from rig.registry import Registry

from builder.model import Base
from catalog import builds
from catalog.build_models import Build
from catalog.engine import reading, writing
from catalog.states import BuildState
from worker import containers, leftovers

from .conftest import Workshop

pytestmark = pytest.mark.rig
Make = Callable[..., Workshop]
NAP = f"sleep {random.randrange(1_000, 10_000_000)}"
"""A command that is still there much later, and that no other run of these tests has."""
ENDLESS = f"#!/bin/sh\necho begun\n{NAP}\n"
FORKS = f"""\
#!/usr/bin/env python3
import os
print("begun", flush=True)
while True:
    if os.fork() == 0:
        os.execlp("sleep", *"{NAP}".split())
"""
LOUD = "#!/bin/sh\nyes '{}' | head -c 50000000\necho the last line\n".format("words " * 30)


def asleep() -> list[int]:
    """The processes that the tests' endless steps run as, as the machine's own ids."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().replace(b"\0", b" ").strip() == NAP.encode():
                found.append(int(process.name))
    return found


def left(workshop: Workshop) -> list[str]:
    """What builds have left in the engine, in the worker's scratch, and among processes."""
    assert workshop.engine is not None
    ask = workshop.engine.docker
    found = ask("ps", "--all", "--quiet").stdout.split()
    found += ask("images", "--quiet", "kitbag.dev/build").stdout.split()
    names = ask("images", "--format={{.Repository}}:{{.Tag}}").stdout.split()
    found += [name for name in names if "/kitbag/stage/" in name]
    found += ask("network", "ls", "--quiet", "--filter=label=kitbag.dev/build").stdout.split()
    scratch = workshop.kit.scratch.path.parent
    found += [str(path) for path in scratch.glob("process-*/build-*")]
    found += [str(path) for path in scratch.glob("process-*/kitbag-engine-*")]
    return found + [str(process) for process in asleep()]


def gone(workshop: Workshop) -> None:
    """Return once nothing is left; an engine takes a moment to end what it was told to."""
    deadline = time.monotonic() + 60
    while found := left(workshop):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def until(workshop: Workshop, build: str, said: str) -> None:
    """Return once the build's log has a line with these words."""
    deadline = time.monotonic() + 90
    while not any(said in line for line in workshop.log(build)):
        assert time.monotonic() < deadline, workshop.log(build)
        time.sleep(0.05)


def interrupted(workshop: Workshop, build: str, said: str, act: Callable[[], object]) -> Build:
    """The build's row after something was done to it when its log said these words."""
    worker = threading.Thread(target=workshop.work, args=(build,))
    worker.start()
    until(workshop, build, said)
    act()
    worker.join(90)
    assert not worker.is_alive()
    with reading(workshop.catalog) as session:
        return builds.get(session, build)


def state_of(workshop: Workshop, build: str) -> BuildState:
    with reading(workshop.catalog) as session:
        return builds.get(session, build).state


def cancel(workshop: Workshop, build: str) -> None:
    with writing(workshop.catalog) as session:
        builds.request_cancel(session, build)


def problem(workshop: Workshop, files: dict[str, str], name: str, says: str) -> dict[str, Any]:
    """The problem of a build that fails, whose log is kept."""
    build = workshop.ask(files, name)
    error = dict(workshop.work(build).error or {})
    assert any(says in line for line in workshop.log(build)), workshop.log(build)[-20:]
    return error


def test_a_post_build_that_fills_memory_is_ended_at_its_limit(make_workshop: Make) -> None:
    site = make_workshop(engine_builder="classic", engine_memory_bytes=64 << 20)
    script = "#!/bin/sh\necho begun\ntail -n 1 /dev/zero\n"
    error = problem(site, {"postBuild": script}, "fault/memory", "begun")
    assert error["type"] == "limit-exceeded", error
    assert "64 MiB" in error["detail"]
    gone(site)


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_a_post_build_that_forks_without_end_is_ended_at_its_limit(
    make_workshop: Make, builder: str
) -> None:
    site = make_workshop(engine_builder=builder, engine_processes=300, build_timeout_s=120)
    error = problem(site, {"postBuild": FORKS}, f"fault/forks-{builder}", "begun")
    assert error["type"] == "limit-exceeded", error
    assert "no more processes, of which it may have 300" in error["detail"]
    gone(site)


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_of_50_megabytes_of_output_the_beginning_and_the_end_are_kept(
    make_workshop: Make, builder: str
) -> None:
    site = make_workshop(engine_builder=builder)
    build = site.ask({"postBuild": LOUD}, f"fault/loud-{builder}")
    done = site.work(build)
    assert done.state is BuildState.READY, done.error
    lines = site.log(build)
    assert sum(map(len, lines)) < 4 << 20
    assert any("words words" in line for line in lines[:40])
    if builder == "classic":  # BuildKit cuts a step's output itself, and says so
        assert any("lines are left out here" in line for line in lines)
        assert any("the last line" in line for line in lines[-100:])
    else:
        assert any("clipped" in line for line in lines)


def test_a_link_to_the_machines_own_files_is_no_link_any_more(
    workshop: Workshop, git_server: GitServer
) -> None:
    script = '#!/bin/sh\ntest ! -L passwd && echo "it says $(cat passwd)"\n'
    repository = git_server.repository("binder-link", {"postBuild": script})
    (repository.work_tree / "passwd").symlink_to("/etc/passwd")
    repository.commit_all("a link")
    build = workshop.ask({}, "fault/link", source={"git": {"url": repository.http_url}})
    assert workshop.work(build).state is BuildState.READY
    lines = workshop.log(build)
    assert any("'passwd' points outside the repository" in line for line in lines)
    assert any(line.endswith("it says /etc/passwd") for line in lines)


def test_a_repository_over_the_limit_is_refused_before_anything_runs(
    make_workshop: Make, git_server: GitServer
) -> None:
    site = make_workshop(source_max_bytes=1 << 20)
    files: dict[str, str | bytes | None] = {"postBuild": "#!/bin/sh\n", "data": os.urandom(2 << 20)}
    repository = git_server.repository("binder-large", files)
    error = site.fails({}, source={"git": {"url": repository.http_url}})
    assert error["type"] == "too-large", error
    gone(site)


def test_a_post_build_that_fills_the_disk_is_ended_at_its_limit(make_workshop: Make) -> None:
    site = make_workshop(engine_disk_bytes=400 << 20)
    script = "#!/bin/sh\necho begun\ndd if=/dev/zero of=large bs=1M count=450\n" + NAP
    error = problem(site, {"postBuild": script}, "fault/disk", "begun")
    assert error["type"] == "limit-exceeded", error
    assert "disk" in error["detail"]
    gone(site)


def test_a_cancelled_apt_step_ends_and_leaves_nothing(workshop: Workshop) -> None:
    build = workshop.ask({"apt.txt": "sl\n", "postBuild": "#!/bin/sh\n"}, "fault/apt")
    row = interrupted(workshop, build, "apt-get", lambda: cancel(workshop, build))
    assert row.state is BuildState.CANCELLED
    gone(workshop)


def test_a_cancelled_copy_of_layers_ends_and_leaves_nothing(
    make_workshop: Make, registry: Registry, base: Base, make_proxy: Callable[[int], Proxy]
) -> None:
    slow = make_proxy(int(registry.host.rpartition(":")[2]))
    slow.bytes_per_s = 50_000
    here = replace(base, image=base.image.replace(registry.host, slow.host))
    site = make_workshop(store=f"registry://{slow.host}/binder", base=here)
    build = site.ask({"data": os.urandom(1 << 19).hex(), "postBuild": ENDLESS}, "fault/layers")
    worker = threading.Thread(target=site.work, args=(build,))
    worker.start()
    deadline = time.monotonic() + 30
    while slow.bytes_up < 100_000:
        assert time.monotonic() < deadline, (slow.bytes_up, site.log(build)[-5:])
        time.sleep(0.05)
    cancel(site, build)
    worker.join(60)
    assert not worker.is_alive()
    with reading(site.catalog) as session:
        assert builds.get(session, build).state is BuildState.CANCELLED
    assert not any("begun" in line for line in site.log(build))
    gone(site)


def test_an_engine_that_dies_ends_the_build_and_serves_the_next(
    make_workshop: Make, make_docker_engine: Callable[..., DockerEngine]
) -> None:
    rig = make_docker_engine()
    site = make_workshop(engine_address=rig.host)
    site.engine = rig
    build = site.ask({"postBuild": ENDLESS}, "fault/dies")
    row = interrupted(site, build, "begun", rig.kill)
    assert row.state is BuildState.FAILED
    assert (row.error or {})["type"] == "engine-unreachable"
    assert list(site.kit.scratch.path.glob("build-*")) == []
    rig.start()
    containers.sweep(site.kit)
    # Docker 20.10 that was killed with its containerd forgets the process of the step that ran.
    for process in asleep():
        os.kill(process, signal.SIGKILL)
    gone(site)
    assert site.build({"postBuild": "#!/bin/sh\necho again\n"}, "fault/dies").number == 1


def test_what_a_killed_worker_left_is_swept_by_the_next(
    make_workshop: Make, redis_server: RedisServer, start_worker: Callable[..., Daemon]
) -> None:
    broker = redis_server.new_database()
    site = make_workshop(broker_url=broker, sweep_s=0.5, max_attempts=1, lease_s=15)
    worker = start_worker(site.variables)
    assert worker.pid is not None
    build = site.ask({"postBuild": ENDLESS}, "fault/killed")
    until(site, build, "begun")
    assert site.engine is not None
    # What an engine with a builder that has containers and images of each step could have left.
    (image, *_) = site.engine.docker("images", "--quiet").stdout.split()
    site.engine.docker("tag", image, f"kitbag.dev/build:{build}")
    site.engine.docker("create", f"--label=kitbag.dev/build={build}", image, "none")
    # What the build started from, which is of no use to any other.
    assert f"/kitbag/stage/fault/killed:{build}" in "".join(left(site))
    assert site.kit.store.manifest("kitbag/stage/fault/killed", build) is not None
    os.killpg(worker.pid, signal.SIGKILL)
    deadline = time.monotonic() + 90
    while state_of(site, build) is not BuildState.FAILED:
        assert leftovers.requeue_dead(site.kit) == {}  # it had its one attempt
        assert time.monotonic() < deadline
        time.sleep(0.2)
    start_worker(site.variables, "--queues", "engine")
    with reading(site.catalog) as session:
        row = builds.get(session, build)
    assert row.state is BuildState.FAILED
    assert "workers died while they built this" in (row.error or {})["detail"]
    assert any("begun" in line for line in site.log(build))
    gone(site)
    deadline = time.monotonic() + 60
    while site.kit.store.manifest("kitbag/stage/fault/killed", build) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
