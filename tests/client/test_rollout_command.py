"""rollout add --git, ls, retry, rm: rollouts to repositories, which need no cluster."""

from __future__ import annotations

import json

import pytest

URL = "https://git.example.com/hep/deploy.git"


@pytest.fixture(scope="module")
def asked(server) -> str:
    """An environment without a version, so that nothing is pushed."""
    with server.client() as client:
        client.hooks.add("env/deployed", "https://git.example.com/hep/gan.git", "gitea")
    return "env/deployed"


def test_a_repository_is_registered_listed_and_removed(kitbag, server, asked):
    made = kitbag(
        *("rollout", "add", asked, "--git", URL, "--path", "deploy/", "--path", "app.yaml"),
        *("--branch", "live", "--pull-request", "--forge", "gitlab", "--secret", "robot", "--json"),
        env=server.env,
    )
    assert made.returncode == 0, made.stderr
    rollout = json.loads(made.stdout)
    assert rollout["git"] == {
        "url": URL,
        "branch": "live",
        "paths": ["deploy", "app.yaml"],
        "pull_request": True,
        "forge": "gitlab",
        "secret": "robot",
        "target": None,
    }
    listed = kitbag("rollout", "ls", asked, env=server.env).stdout
    assert f"{URL} live" in listed
    gone = kitbag("rollout", "rm", asked, str(rollout["id"]), env=server.env)
    assert gone.returncode == 0
    assert kitbag("rollout", "ls", asked, env=server.env).stdout == ""


@pytest.mark.parametrize(
    "wrong",
    [
        ["--git", URL],
        ["--path", "deploy/"],
        ["--git", URL, "--path", "deploy/", "-l", "app=gan"],
        ["--git", URL, "--path", "deploy/", "--clone"],
        ["-l", "app=gan", "--secret", "robot"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_refused(kitbag, server, asked, wrong):
    done = kitbag("rollout", "add", asked, *wrong, env=server.env)
    assert done.returncode == 2 and done.stdout == ""
