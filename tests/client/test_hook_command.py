"""hook add, ls, show, renew, rm."""

from __future__ import annotations

import json

import pytest

URL = "https://git.example/hep/gan.git"


@pytest.fixture
def made(kitbag, server):
    """A webhook of GitHub."""
    asked = ("hook", "add", "env/hooked", URL, "--forge", "github")
    done = kitbag(*asked, "--branch", "main", "--branch", "r/*=env/r-{branch}", env=server.env)
    assert done.returncode == 0, done.stderr
    hooks = json.loads(kitbag("hook", "ls", "env/hooked", "--json", env=server.env).stdout)
    return done, hooks["items"][-1]


def test_add_prints_what_to_paste_and_show_prints_it_again(kitbag, server, made):
    done, hook = made
    address = f"{server.env['KITBAG_URL']}/v1/hooks/github?hook={hook['id']}"
    assert address in done.stdout
    assert "application/json" in done.stdout
    shown = kitbag("hook", "show", "env/hooked", hook["id"], env=server.env)
    assert shown.stdout == done.stdout


def test_ls_shows_rules_as_they_are_given_and_no_secret(kitbag, server, made):
    done, hook = made
    listed = kitbag("hook", "ls", "env/hooked", env=server.env).stdout
    assert "main r/*=env/r-{branch}" in listed
    secret = next(line for line in done.stdout.splitlines() if "secret" in line).split()[-1]
    assert secret not in listed and secret not in json.dumps(hook)


def test_tags_are_listed_as_they_are_given(kitbag, server):
    asked = ("hook", "add", "env/tagged", URL, "--forge", "gitlab", "--tag", "v*")
    done = kitbag(*asked, "--tag", "r*=env/r-{tag}", env=server.env)
    assert done.returncode == 0, done.stderr
    assert "v* r*=env/r-{tag}" in kitbag("hook", "ls", "env/tagged", env=server.env).stdout


def test_renew_prints_another_secret(kitbag, server, made):
    done, hook = made
    renewed = kitbag("hook", "renew", "env/hooked", hook["id"], env=server.env)
    assert renewed.returncode == 0 and renewed.stdout != done.stdout


def test_rm_forgets_it_and_then_there_is_none(kitbag, server, made):
    _, hook = made
    assert kitbag("hook", "rm", "env/hooked", hook["id"], env=server.env).returncode == 0
    gone = kitbag("hook", "show", "env/hooked", hook["id"], env=server.env)
    assert gone.returncode == 2 and gone.stderr.count("\n") == 1 and "no webhook" in gone.stderr


def test_a_name_that_is_none_is_one_sentence(kitbag, server):
    done = kitbag("hook", "ls", "No Name", env=server.env)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
