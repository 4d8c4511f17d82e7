"""What a Kitbag image does when it starts, tried in dash with a JupyterLab that says its flags."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "builder/files"
START = FILES / "start"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the start script with dash and a PATH of its own."""
    commands = tmp_path / "bin"
    commands.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    for name in ("id", "mktemp", "sh", "env", "pwd"):
        found = shutil.which(name)
        assert found
        (commands / name).symlink_to(found)

    def start(*arguments: str, jupyter: bool = True, **environment: str) -> object:
        if jupyter:
            lab = commands / "jupyter-lab"
            lab.write_text('#!/bin/sh\nfor flag; do echo "$flag"; done; echo "HOME=$HOME"\n')
            lab.chmod(0o755)
        return subprocess.run(
            [shutil.which("dash") or "/bin/sh", str(START), *arguments],
            env={"PATH": str(commands), "HOME": str(home), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return start  # type: ignore[return-value]


@pytest.mark.parametrize("file", ["start", "activate"])
@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
def test_the_shells_that_images_have_can_read_it(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    subprocess.run([shell, "-n", str(FILES / file)], check=True)


def test_arguments_are_run_instead_of_a_server(run: Run) -> None:
    done = run("sh", "-c", 'printf "%s|" "$@"; exit 7', "x", "a b", "", "*", "$HOME")
    assert done.stdout == "a b||*|$HOME|"
    assert done.returncode == 7


def test_a_notebook_is_served_on_8888_with_its_token_when_nobody_has_authenticated(
    run: Run,
) -> None:
    flags = run().stdout.splitlines()
    assert "--ip=0.0.0.0" in flags
    assert "--port=8888" in flags
    assert "--no-browser" in flags
    assert "--ServerApp.base_url=/" in flags
    assert not [flag for flag in flags if "token" in flag or "password" in flag]


def test_under_kubeflow_it_is_served_below_the_prefix_and_leaves_logins_to_the_gateway(
    run: Run,
) -> None:
    flags = run(NB_PREFIX="/notebook/alice/3dgan", NB_PORT="9999").stdout.splitlines()
    assert "--ServerApp.base_url=/notebook/alice/3dgan" in flags
    assert "--port=9999" in flags
    assert "--IdentityProvider.token=" in flags
    assert "--ServerApp.password=" in flags
    assert "--ServerApp.allow_origin=*" in flags


def test_a_prefix_is_one_flag_whatever_it_holds(run: Run) -> None:
    flags = run(NB_PREFIX="/a b; touch x $(id)").stdout.splitlines()
    assert "--ServerApp.base_url=/a b; touch x $(id)" in flags


def test_root_is_allowed_only_where_the_container_is_root(run: Run) -> None:
    assert ("--allow-root" in run().stdout.splitlines()) == (os.getuid() == 0)


def test_without_jupyterlab_it_says_what_to_add(run: Run) -> None:
    done = run(jupyter=False)
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "add jupyterlab to its requirements" in done.stderr


def test_without_jupyterlab_arguments_still_run(run: Run) -> None:
    assert run("sh", "-c", "echo ran", jupyter=False).stdout == "ran\n"


def test_a_home_that_is_not_there_is_replaced_by_one_that_can_be_written(run: Run) -> None:
    done = run("sh", "-c", 'echo "$HOME"; [ -w "$HOME" ]', HOME="/nonexistent/home")
    assert done.returncode == 0
    assert done.stdout.strip() not in ("", "/nonexistent/home")
    Path(done.stdout.strip()).rmdir()


def test_a_home_that_can_be_written_stays(run: Run, tmp_path: Path) -> None:
    assert run().stdout.splitlines()[-1] == f"HOME={tmp_path / 'home'}"


def test_activate_puts_the_environment_first_once_and_deactivate_undoes_it() -> None:
    script = (
        f'. {FILES / "activate"}; . {FILES / "activate"}; echo "$PATH"; deactivate; echo "$PATH"'
    )
    done = subprocess.run(
        ["sh", "-euc", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
    )
    first, second = done.stdout.splitlines()
    assert first == "/opt/env/bin:/usr/bin:/bin"
    assert second == "/usr/bin:/bin"
