"""The templates of docs/ci, and the commands of docs/compilers.md, against the command itself."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitbag.cli import kitbag as group

DOCS = Path(__file__).parents[2] / "docs"


def texts(node: Any) -> Iterator[str]:
    """Every text of a YAML document."""
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def template(name: str) -> Any:
    return yaml.safe_load((DOCS / "ci" / name).read_text())


def commands() -> list[tuple[str, str]]:
    """The lines that run kitbag, with the file that each is in."""
    found = [
        (name, line)
        for name in ("github.yml", "gitlab.yml")
        for text in texts(template(name))
        for line in text.splitlines()
        if line.startswith("kitbag ")
    ]
    page = (DOCS / "compilers.md").read_text()
    indented = re.findall(r"(?m)^ {4}(?:export \w+=\$\()?(kitbag [^)#\n]*)", page)
    inline = re.findall(r"`(kitbag \w+ [^`]*)`", page)
    return found + [("compilers.md", line) for line in (*indented, *inline)]


@pytest.mark.parametrize(("file", "line"), commands())
def test_every_command_is_one_that_kitbag_takes(file: str, line: str) -> None:
    # [--optional] parts of a synopsis count as given.
    words = shlex.split(line.replace("[", "").replace("]", "").partition(" > ")[0])[1:]
    command = group.commands[words[0]]
    command.make_context(words[0], words[1:])


def test_the_commands_are_found_where_they_are() -> None:
    assert {file for file, _ in commands()} == {"github.yml", "gitlab.yml", "compilers.md"}
    assert len(commands()) > 15


def test_the_action_has_what_github_asks_of_a_workflow() -> None:
    action = template("github.yml")
    # YAML 1.1 reads the key `on` as true.
    assert {"name", True, "jobs", "permissions"} <= action.keys()
    for job in action["jobs"].values():
        assert job["runs-on"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])


def test_the_gitlab_jobs_have_stages_and_scripts_and_extend_what_is_there() -> None:
    pipeline = template("gitlab.yml")
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict)}
    for name, job in jobs.items():
        if not name.startswith("."):
            assert job["stage"] in pipeline["stages"]
            assert job["script"]
            assert job["extends"] in jobs
