"""What can't be locked, and what is said about it: real uv against real indexes on loopback."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rig.http import QuietHandler, serve

from builder.errors import (
    BuildError,
    CancelledError,
    DiskFullError,
    EngineNeededError,
    IndexRefusedError,
    IndexUnreachableError,
    InvalidSpecError,
    NoWheelError,
    TimedOutError,
    UnresolvableError,
)
from builder.lock import Target
from builder.model import Lock, Platform
from builder.source import HostPolicy


def versions(lock: Lock) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in lock.wheels}


def test_an_unknown_package_names_its_file_and_line(lock_files):
    with pytest.raises(UnresolvableError) as caught:
        lock_files({"requirements.txt": "-r sub/r.txt\n", "sub/r.txt": "# none\n\nnowhere>1\n"})
    assert caught.value.detail.startswith("sub/r.txt, line 3: ")
    assert "nowhere was not found" in caught.value.detail
    assert caught.value.extra == {"file": "sub/r.txt", "line": 3, "package": "nowhere"}


def test_a_conflict_says_who_wants_what(wheel_factory, lock_files):
    wheel_factory.wheel("left", requires=["shared<2"])
    wheel_factory.wheel("right", requires=["shared>=2"])
    for version in ("1.0", "2.0"):
        wheel_factory.wheel("shared", version)
    with pytest.raises(UnresolvableError) as caught:
        lock_files({"requirements.txt": "left\nright\n"})
    assert "left" in caught.value.detail
    assert "shared" in caught.value.detail
    assert "\n" not in caught.value.detail
    assert caught.value.extra["file"] == "requirements.txt"


def test_a_package_with_only_an_sdist_is_named(wheel_factory, lock_files):
    wheel_factory.sdist("source-only", "3.1")
    wheel_factory.wheel("user", requires=["source-only"])
    with pytest.raises(NoWheelError) as caught:
        lock_files({"requirements.txt": "\nsource-only==3.1\n"})
    assert caught.value.detail.startswith("source-only 3.1 (requirements.txt, line 2) has no wheel")
    with pytest.raises(NoWheelError) as caught:
        lock_files({"requirements.txt": "user\n"})
    assert caught.value.detail.startswith(
        "source-only 3.1 (needed by user, requirements.txt, line 1) has no wheel for Python 3.11"
    )
    assert caught.value.extra["package"] == "source-only"


def test_wheels_for_other_machines_only_are_no_wheels(wheel_factory, lock_files):
    wheel_factory.wheel("native", tag="cp311-cp311-win_amd64", purelib=False)
    with pytest.raises(NoWheelError, match=r"native .*Python 3\.11 on linux/amd64"):
        lock_files({"requirements.txt": "native\n"})


def test_hashes_in_the_requirements_are_held_to(wheel_factory, lock_files):
    path = wheel_factory.wheel("top")
    good = wheel_factory.sha256(path)
    lock = lock_files({"requirements.txt": f"top==1.0 \\\n  --hash=sha256:{good}\n"})
    assert lock.wheels[0].sha256 == good
    with pytest.raises(UnresolvableError, match=r"line 2: top-1\.0-.* has none of the hashes"):
        lock_files({"requirements.txt": f"\ntop==1.0 --hash=sha256:{'0' * 64}\n"})


def test_an_index_that_does_not_answer_is_a_transient_error(lock_files, settings, monkeypatch):
    dead = replace(settings, index_url="http://user:s3cret@127.0.0.1:9/simple/")
    with pytest.raises(IndexUnreachableError) as caught:
        lock_files({"requirements.txt": "top"}, uv=dead)
    assert caught.value.transient
    assert "s3cret" not in caught.value.detail
    assert "127.0.0.1:9" in caught.value.detail


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (500, IndexUnreachableError, "answered with status 500"),
        (401, IndexRefusedError, "refused access; check its credentials"),
        (403, IndexRefusedError, "refused access; check its credentials"),
    ],
)
def test_an_index_that_answers_with_an_error_is_named(lock_files, settings, status, error, says):
    class Broken(QuietHandler):
        def answer(self) -> None:
            self.send_error(status)

    with serve(Broken) as port:
        url = f"http://user:s3cret@127.0.0.1:{port}/simple/"
        with pytest.raises(error) as caught:
            lock_files({"requirements.txt": "top"}, uv=replace(settings, index_url=url))
    assert says in caught.value.detail
    assert f"127.0.0.1:{port}" in caught.value.detail
    assert "s3cret" not in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_sources_index_may_not_send_the_worker_into_its_own_network(
    lock_files, settings, wheel_factory
):
    path = wheel_factory.wheel("top")
    digest = wheel_factory.sha256(path)

    class Lying(QuietHandler):
        def answer(self) -> None:
            port = wheel_factory.index_url.split(":")[2].split("/")[0]
            link = f"http://127.0.0.2:{port}/files/{path.name}#sha256={digest}"
            body = f'<a href="{link}">{path.name}</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Lying) as port:
        text = f"--index-url http://127.0.0.1:{port}/simple/\ntop\n"
        strict = replace(settings, hosts=HostPolicy(allowed=frozenset({"127.0.0.1"})))
        with pytest.raises(BuildError) as caught:
            lock_files({"requirements.txt": text}, uv=strict)
    assert "127.0.0.2" in caught.value.detail


def test_a_python_that_the_base_has_not_is_refused(lock_files):
    with pytest.raises(InvalidSpecError, match=r"asks for Python 3\.12, but the base has 3\.11"):
        lock_files({"requirements.txt": "", "runtime.txt": "python-3.12\n"})
    with pytest.raises(InvalidSpecError, match=r"asks for Python >=3\.13"):
        lock_files({"pyproject.toml": "[project]\nname='x'\nrequires-python='>=3.13'\n"})


def test_a_binder_source_can_not_be_locked(lock_files):
    with pytest.raises(EngineNeededError, match=r"environment\.yml asks for conda packages"):
        lock_files({"environment.yml": "dependencies: [numpy]\n"})


def test_cancelling_and_the_time_limit_stop_uv(lock_files, settings, wheel_factory):
    wheel_factory.wheel("top")
    with pytest.raises(CancelledError):
        lock_files({"requirements.txt": "top"}, uv=replace(settings, cancelled=lambda: True))
    with pytest.raises(TimedOutError):
        lock_files({"requirements.txt": "top"}, uv=replace(settings, timeout_s=0.0))


def test_targets_that_no_wheel_fits_are_refused():
    with pytest.raises(InvalidSpecError, match=r"no Python"):
        Target("2.7")
    with pytest.raises(InvalidSpecError, match="windows/amd64"):
        Target("3.11", platform=Platform("windows", "amd64"))


@pytest.mark.parametrize("number", [6, 9])
def test_a_resolver_that_is_killed_is_no_fault_of_the_requirements(
    lock_files, tmp_path, monkeypatch, number
):
    dying = tmp_path / "uv"
    dying.write_text(f"#!/bin/sh\nkill -{number} $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(dying))
    with pytest.raises(RuntimeError, match=f"the signal {number}"):
        lock_files({"requirements.txt": "one\n"})


def test_a_resolver_that_dies_since_the_disk_is_full_says_so(
    lock_files, tmp_path, monkeypatch, make_disk
):
    disk = make_disk(1 << 20)
    (disk / "filler").write_bytes(bytes(100_000))
    dying = tmp_path / "uv"
    dying.write_text("#!/bin/sh\nkill -6 $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr("uv.find_uv_bin", lambda: str(dying))
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    with pytest.raises(DiskFullError, match="disk is full"):
        lock_files({"requirements.txt": "one\n"})
