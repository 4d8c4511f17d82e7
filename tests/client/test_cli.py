"""What holds for every command: exit codes, one-line errors, a fast start."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.process import free_port

import kitbag as kitbag_package
from api.builds.schemas import BuildOut, EventOut
from api.environments.schemas import DiffOut, EnvironmentOut, VersionOut
from api.plans.schemas import Plan
from api.problems import Problem
from api.rollouts.schemas import RolloutOut
from kitbag import __version__
from kitbag.cli import kitbag as group
from kitbag.cli.output import ago, clean, size


def test_the_start_loads_nothing_that_a_command_may_not_need(clean_env):
    code = "import kitbag.cli, sys; print(*{'httpx', 'rich', 'ruamel', 'ssl'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_name_of_the_sdk_is_there_and_is_loaded_when_it_is_asked_for():
    assert all(getattr(kitbag_package, name).__name__ == name for name in kitbag_package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nope'"):
        kitbag_package.nope  # noqa: B018


def test_the_version_and_the_help_are_shown(kitbag):
    assert kitbag("--version").stdout.split()[-1] == __version__
    command = [sys.executable, "-m", "kitbag", "--version"]
    module = subprocess.run(command, capture_output=True, text=True, check=True)
    assert module.stdout == kitbag("--version").stdout
    shown = kitbag("--help")
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in group.commands)


def every_command(commands, before=""):
    """The commands by their words, those of groups too."""
    found = {}
    for name, command in commands.items():
        if isinstance(command, click.Group):
            found |= every_command(command.commands, f"{before}{name} ")
        else:
            found[before + name] = command
    return found


@pytest.mark.parametrize("name", sorted(every_command(group.commands)))
def test_every_command_has_json_and_says_what_it_does(name):
    command = every_command(group.commands)[name]
    options = {option for one in command.params for option in one.opts}
    assert "--json" in options
    assert command.get_short_help_str()
    told = [one for one in command.params if isinstance(one, click.Option)]
    assert all(one.help for one in told)


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("build", "--accelerator", "gpu"),
        ("resolve",),
        ("rollback", "a/b"),
        ("plan", ".", "--ref"),
    ],
)
def test_a_wrong_word_is_two_with_a_reason(kitbag, arguments):
    done = kitbag(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error: " in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "requirements.txt"),
        ("plan", "requirements.txt", "--json"),
        ("resolve", "a/b"),
        ("ls",),
        ("show", "a/b:3"),
        ("history", "a/b", "--json"),
        ("diff", "a/b:1", ":2"),
        ("logs", "b1"),
        ("cancel", "b1"),
        ("rollback", "a/b", "--to", "1"),
        ("verify", "a/b"),
        ("rebase", "--base", "old", "new", "a/*"),
        ("login",),
    ],
)
def test_without_a_server_every_command_says_how_to_get_one(kitbag, tmp_path, arguments):
    (tmp_path / "requirements.txt").write_text("numpy\n")
    url = f"http://127.0.0.1:{free_port()}"
    done = kitbag(*arguments, env={"KITBAG_URL": url})
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"kitbag: no server answers at {url} (Connection refused): start one with"
        " `kitbag-server up`, or set KITBAG_URL\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("build", "none"), "none is not there: give a folder"),
        (("build", ".", "--ref", "main"), "--ref main needs a git URL"),
        (("resolve", "Alice/3DGAN"), "is not an environment"),
        (("show", "a"), "is not an environment"),
        (("diff", "a/b:1", "a/c:2"), "a/b and a/c are two environments"),
        (("diff", "a/b:1", "2"), "is not an environment"),
        (("logs", ".."), "names nothing on the server"),
        (("resolve", "a/b", "--json"), "is no server's address"),
    ],
)
def test_what_can_be_seen_to_be_wrong_is_said_without_a_server(kitbag, arguments, sentence):
    done = kitbag(*arguments, env={"KITBAG_URL": "ftp://x" if "--json" in arguments else ""})
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.startswith("kitbag: ")
    assert len(done.stderr.splitlines()) == 1


@settings(deadline=None)
@given(st.text(alphabet=st.characters(categories=["Cc", "L"]), max_size=60))
def test_no_text_of_a_stranger_moves_the_terminal(text: str):
    shown = clean(f"{text}\x1b[2J\x1b]0;title\x07{text}")
    assert not {c for c in shown if unicodedata.category(c) == "Cc"} - {"\n", "\t"}


def test_text_without_controls_stays_as_it_is():
    text = "naïve 日本 🎒\n\tnumpy==2.0 [ok]"
    assert clean(f"\x1b[1m{text}\x1b[0m") == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (1_234_567, "1.2 MB")],
)
def test_sizes_have_one_digit_behind_the_point(size_bytes, text):
    assert size(size_bytes) == text


def test_what_was_never_has_no_age():
    assert ago(None) == ""


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("Build", BuildOut),
        ("Problem", Problem),
        ("Event", EventOut),
        ("Plan", Plan),
        ("Environment", EnvironmentOut),
        ("Version", VersionOut),
        ("Diff", DiffOut),
        ("Rollout", RolloutOut),
    ],
)
def test_the_page_names_every_member_that_the_server_sends(word, model):
    page = Path(__file__).parents[2].joinpath("docs/cli.md").read_text()
    told = page.partition(f"* **{word}**")[2].partition("* **")[0].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", told))
    assert set(model.model_fields) - named <= {"instance"}
