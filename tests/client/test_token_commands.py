"""whoami, token, and login with a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import httpx

from .conftest import TOKEN


def test_a_token_is_made_used_listed_and_revoked(kitbag, closed_server):
    operator = closed_server.env | {"KITBAG_TOKEN": TOKEN}
    made = kitbag("token", "create", "ci", "--namespace", "hep", "--role", "reader", env=operator)
    secret = made.stdout.strip()
    assert re.fullmatch(r"kb_[-_A-Za-z0-9]{43}", secret), made.stderr
    ci = closed_server.env | {"KITBAG_TOKEN": secret}
    who = kitbag("whoami", env=ci).stdout
    assert "kitbag:token:hep/ci" in who and "reader of hep" in who
    listed = json.loads(kitbag("token", "ls", "--json", env=operator).stdout)["items"]
    (token,) = [item for item in listed if item["name"] == "ci"]
    assert "kb_" not in json.dumps(listed)
    table = kitbag("token", "ls", env=operator).stdout
    assert re.search(rf"^{token['id']} +ci +hep +reader +hep ", table, re.MULTILINE)
    assert kitbag("token", "rm", str(token["id"]), env=operator).returncode == 0
    refused = kitbag("whoami", env=ci)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "does not take this token" in refused.stderr


def test_what_a_role_does_not_allow_is_said_in_one_sentence(kitbag, closed_server):
    operator = closed_server.env | {"KITBAG_TOKEN": TOKEN}
    made = kitbag("token", "create", "r", "--only", "hep", "--role", "reader", env=operator)
    mine = closed_server.env | {"KITBAG_TOKEN": made.stdout.strip()}
    refused = kitbag("build", "https://git.example.org/a/b", "--name", "hep/x", env=mine)
    assert refused.returncode == 2
    assert "needs the role user in the namespace hep" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_where_nobody_is_asked_whoami_says_so(kitbag, server):
    assert json.loads(kitbag("whoami", "--json", env=server.env).stdout)["kind"] == "local"


def test_login_with_a_browser_keeps_the_token_that_a_person_gives(kitbag, closed_server, home):
    url = closed_server.url
    waiting = subprocess.Popen(
        [sys.executable, "-m", "kitbag", "login", url, "--web"],
        env={"HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    said = re.search(r"open (\S+) and let in the code (\S+)", waiting.stderr.readline())
    assert said is not None
    own = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=url, headers=own, trust_env=False, timeout=60) as browser:
        browser.post("/sign-in", data={"token": TOKEN})
        assert said[2] in browser.get(said[1]).text
        browser.post("/sign-in/command", data={"code": said[2]})
    out, err = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, err
    assert "is the server from now on" in out
    saved = (home / ".config/kitbag/config.toml").read_text()
    assert "kb_" in saved and TOKEN not in saved
    assert kitbag("whoami").stdout.startswith("user")
