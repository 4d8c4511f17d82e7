"""`kitbag build`, `plan`, `logs` and `cancel` against the real API."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kitbag import BuildState

from .conftest import KITBAG

IMAGE = re.compile(r"registry\.example\.org/[-a-z0-9]+/[-a-z0-9]+@sha256:[0-9a-f]{64}\n")


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "My 3DGAN"
    made.mkdir()
    (made / "requirements.txt").write_text("six\nnumpy==2.0\n")
    return made


def requirements(folder: Path, *lines: str) -> str:
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    return "requirements.txt"


def test_stdout_is_the_reference_and_nothing_else(kitbag, server, folder):
    done = kitbag("build", cwd=folder, env=server.env)
    assert done.returncode == 0
    assert IMAGE.fullmatch(done.stdout)
    assert "default/my-3dgan@" in done.stdout
    first, *_, last = done.stderr.splitlines()
    assert re.fullmatch(r"default/my-3dgan: build \w+ is queued", first)
    assert re.fullmatch(
        r"default/my-3dgan:1 is ready: layered, 0 packages, 1 layer new, 40 known, 1\.2 MB moved,"
        r" [0-9.]+ s",
        last,
    )
    assert "\x1b" not in done.stderr


def test_a_requirements_file_is_built_under_the_name_that_is_given(kitbag, server, folder):
    done = kitbag("build", "requirements.txt", "--name", "cli/gan", cwd=folder, env=server.env)
    assert "/cli/gan@" in done.stdout
    again = kitbag(
        "build", "requirements.txt", "--name", "cli/gan", "--json", cwd=folder, env=server.env
    )
    assert again.stderr == "cli/gan:1 was built already\n"
    build = json.loads(again.stdout)
    assert (build["state"], build["version"], build["stats"]["packages"]) == ("ready", 1, 2)
    assert build["image"] == done.stdout.strip()


def test_no_wait_prints_the_id_that_logs_and_cancel_take(kitbag, server, folder):
    requirements(folder, "slow")
    done = kitbag(
        "build", "requirements.txt", "--name", "cli/slow", "--no-wait", cwd=folder, env=server.env
    )
    build_id = done.stdout.strip()
    assert (done.stderr, done.returncode) == ("", 0)
    cancelled = kitbag("cancel", build_id, env=server.env)
    assert cancelled.stdout == f"{build_id} is being cancelled\n"
    logs = kitbag("logs", build_id, "-f", env=server.env)
    assert "red text of a stranger" in logs.stdout
    assert "\x1b" not in logs.stdout
    assert kitbag("cancel", build_id, env=server.env).stdout == f"{build_id} is cancelled\n"
    lines = kitbag("logs", build_id, "--json", env=server.env).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert json.loads(lines[-1])["kind"] == "done"


def test_a_failed_build_is_one_line_with_file_and_line_and_exit_code_two(kitbag, server, folder):
    requirements(folder, "six", "broken")
    done = kitbag("build", "requirements.txt", "--name", "cli/bad", cwd=folder, env=server.env)
    assert (done.stdout, done.returncode) == ("", 2)
    last = done.stderr.splitlines()[-1]
    assert last == "kitbag: requirements.txt:2: There is no version of broken; check its name."
    asked = ("build", "requirements.txt", "--name", "cli/bad", "--json", "--upgrade")
    done = kitbag(*asked, cwd=folder, env=server.env)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["package"] == "broken"


def test_a_refused_request_is_one_line(kitbag, server, folder):
    done = kitbag("build", "https://a:b@git.example.org/x", env=server.env)
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("kitbag: The git URL holds credentials")
    done = kitbag("build", "--base", "nope", cwd=folder, env=server.env)
    assert done.stderr.startswith("kitbag: There is no base 'nope'")


def test_what_is_left_out_of_a_folder_is_said(kitbag, server, folder):
    for number in range(5):
        (folder / f"data{number}").symlink_to("/")
    done = kitbag("build", "--name", "cli/links", cwd=folder, env=server.env)
    assert done.returncode == 0
    first = done.stderr.splitlines()[0]
    assert first.startswith("kitbag: left out: data0 (it links to a place outside the folder), ")
    assert first.endswith(" and 2 more")


def test_ctrl_c_stops_the_waiting_and_not_the_build(server, clean_env, folder):
    requirements(folder, "slow")
    command = [KITBAG, "build", "requirements.txt", "--name", "cli/interrupted"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=clean_env | server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A run in the background of a script ignores it, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    while "text of a stranger" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (out, process.returncode) == ("", 130)
    found = re.search(
        r"kitbag: build (\w+) goes on: `kitbag logs -f \1` follows it, `kitbag cancel \1` stops it",
        err,
    )
    assert found, err
    with server.client() as client:
        assert not client.build_status(found[1]).state.ended
        client.cancel(found[1])


def test_on_a_terminal_the_progress_is_live_and_stdout_still_the_reference(
    server, clean_env, folder
):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [KITBAG, "build", "requirements.txt", "--name", "cli/live"],
        cwd=folder,
        env=clean_env | server.env | {"TERM": "xterm-256color", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 0.1)
        try:
            shown += os.read(ours, 65536) if ready else b""
        except OSError:
            break
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert IMAGE.fullmatch(out)
    assert b"\x1b[" in shown
    assert b"red text of a stranger" in re.sub(rb"\x1b\[[0-9;]*m", b"", shown)
    assert b"cli/live:1 is ready: layered" in shown


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_and_no_color_turns_them_off(
    server, clean_env, folder, no_color, coloured
):
    ours, theirs = pty.openpty()
    subprocess.run(
        [KITBAG, "plan", "requirements.txt", "--name", "cli/colour"],
        cwd=folder,
        env=clean_env | server.env | {"TERM": "xterm-256color", "NO_COLOR": no_color},
        stdout=theirs,
        check=True,
        timeout=60,
    )
    os.close(theirs)
    assert (b"\x1b[32m+ six 1" in os.read(ours, 65536)) is coloured
    os.close(ours)


def test_a_plan_shows_way_layers_bytes_changes_and_warnings(kitbag, server, folder):
    name = ("--name", "cli/plan")
    kitbag("build", "requirements.txt", *name, cwd=folder, env=server.env)
    requirements(folder, "six", "numpy==2.1", "new==3")
    done = kitbag("plan", "requirements.txt", *name, cwd=folder, env=server.env)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "way          layered: only Python packages",
        "files        requirements.txt",
        "python       3.11.2",
        "base         auto sha256:000000000000",
        "packages     3, 2 of them never built",
        "layers       40 known, 1 new",
        "to move      about 1.2 MB of 147.0 MB",
        "to fetch     about 1.3 MB by a node with the latest version",
        "to download  1.0 MB",
        "+ new 3 (1.0 kB)",
        "~ numpy 2.0 -> 2.1 (1.0 kB)",
    ]
    assert done.stderr == "warning: no JupyterLab in it\n"
    gpu = ("--accelerator", "cuda")
    done = kitbag("plan", "requirements.txt", *name, *gpu, cwd=folder, env=server.env)
    assert "cuda         12.4, cuDNN 9.1.0.70\n" in done.stdout
    node = "nodes: nvidia.com/cuda.driver.major Gt 524"
    assert f"driver       525.60.13 or later; {node}\n" in done.stdout
    done = kitbag("plan", "requirements.txt", *name, "--json", cwd=folder, env=server.env)
    assert json.loads(done.stdout)["layers"] == {"known": 40, "new": 1}
    requirements(folder, "broken")
    done = kitbag("plan", "requirements.txt", *name, cwd=folder, env=server.env)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "There is no version of broken" in done.stderr
    with server.client() as client:
        assert len(list(client.builds("cli/plan", state=BuildState.READY))) == 1


def test_choices_about_packages_reach_the_server(kitbag, server, folder):
    done = kitbag(
        *("build", "--name", "cli/chosen", "--json", "--extra", "plot", "--extra", "gpu"),
        *("--group", "test", "--index", "https://{secret:corp}@pypi.corp.example/simple"),
        *("--default-index", "https://mirror.corp.example/simple", "--exclude-newer", "2026-01-31"),
        *("--index-strategy", "first-index", "--compression", "zstd"),
        cwd=folder,
        env=server.env,
    )
    request = json.loads(done.stdout)["request"]
    assert request["extras"] == ["gpu", "plot"]
    assert request["groups"] == ["test"]
    assert request["indexes"] == ["https://{secret:corp}@pypi.corp.example/simple"]
    assert request["default_index"] == "https://mirror.corp.example/simple"
    assert request["index_strategy"] == "first-index"
    assert request["compression"] == "zstd"
    assert request["exclude_newer"] == "2026-02-01T00:00:00Z"
    refused = kitbag("plan", "--exclude-newer", "soon", cwd=folder, env=server.env)
    assert refused.returncode == 2
    assert "give a date such as 2026-01-31" in refused.stderr


def test_accelerators_and_platforms_reach_the_server(kitbag, server, folder):
    def request(*options: str) -> dict[str, object]:
        done = kitbag(
            "build", "--name", "cli/images", "--json", *options, cwd=folder, env=server.env
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["request"]

    both = request("--accelerator", "cpu,cuda", "--platform", "linux/arm64, linux/amd64")
    assert both["accelerators"] == ["cpu", "cuda"]
    assert both["platforms"] == ["linux/amd64", "linux/arm64"]
    again = request("--accelerator", "cpu", "--accelerator", "cuda", "--platform", "linux/arm64")
    assert (again["accelerators"], again["platform"]) == (["cpu", "cuda"], "linux/arm64")
    assert request("--accelerator", "cpu")["accelerators"] == ["cpu"]
    assert "accelerators" not in request("--accelerator", "cuda")
    assert "accelerators" not in request()
    for option, value in (("--platform", "linux/386"), ("--accelerator", "cpu,gpu")):
        refused = kitbag("build", option, value, cwd=folder, env=server.env)
        assert refused.returncode == 2 and "is not one of" in refused.stderr


def test_an_accelerator_beside_an_image_is_refused(kitbag, folder):
    (folder / "pod.yaml").write_text("kind: Pod\n")
    done = kitbag("pin", "pod.yaml", "--image", "r.io/a:1", "--accelerator", "cuda", cwd=folder)
    assert done.returncode == 2 and "--accelerator changes nothing" in done.stderr
