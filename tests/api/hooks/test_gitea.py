"""A real Gitea: what it sends, the statuses it keeps, and pull requests with pins in it.

`KITBAG_TEST_GITEA` is its program; `KITBAG_TEST_GITEA_STATIC` the folder of its templates and
options where they aren't in the program. Building it took 7 minutes on two busy cores, too long for
CI, by

    go build -tags 'sqlite sqlite_unlock_notify' code.gitea.io/gitea    # v1.26.0, with its replaces

with its module's folder as the static one.
"""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from rig.process import Daemon, accepts, free_port, temp_dir

from catalog import hooks as catalog_hooks
from catalog import rollouts
from catalog.engine import reading, writing
from catalog.rollout_models import RolloutRun, RunState
from worker import hooks as following
from worker import rolling
from worker.services import Services
from worker.settings import WorkerSettings

pytestmark = pytest.mark.wide
Site = Any
OPEN = "/repos/ana/deploy/pulls?state=open"
OLD, NEW = (f"registry.example/alice/gan@sha256:{digit * 64}" for digit in "12")
CONFIG = """\
RUN_USER = {user}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = {folder}
[server]
STATIC_ROOT_PATH = {static}
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
[security]
INSTALL_LOCK = true
SECRET_KEY = 0123456789012345678901234567890123456789
[webhook]
ALLOWED_HOST_LIST = loopback
"""


@dataclass(frozen=True)
class Gitea:
    """The forge, as the user ana who may do anything in it."""

    url: str
    token: str
    http: httpx.Client

    def api(self, method: str, path: str, **body: Any) -> Any:
        answer = self.http.request(method, f"/api/v1{path}", json=body or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def write(self, repo: str, path: str, text: str, **more: Any) -> str:
        """Commit a new file as a push does; returns the commit."""
        content = base64.b64encode(text.encode()).decode()
        made = self.api(
            "POST", f"/repos/ana/{repo}/contents/{path}", content=content, message=path, **more
        )
        return str(made["commit"]["sha"])


@pytest.fixture(scope="module")
def gitea() -> Iterator[Gitea]:
    program = os.environ.get("KITBAG_TEST_GITEA", "")
    if not program:
        pytest.skip("KITBAG_TEST_GITEA names no Gitea")
    port = free_port()
    with temp_dir("gitea") as folder:
        config = folder / "app.ini"
        static = os.environ.get("KITBAG_TEST_GITEA_STATIC", str(folder))
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        config.write_text(CONFIG.format(folder=folder, port=port, static=static, user=user))
        command = [program, "-c", str(config)]
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        daemon = Daemon(
            [*command, "web"],
            log=folder / "log",
            ready=lambda: accepts(port),
            env=env,
            timeout_s=120,
        )
        daemon.start()
        try:
            admin = [*command, "admin", "user"]
            person = ["--username", "ana", "--email", "ana@example.org", "--password", "Secret-123"]
            made = [*admin, "create", "--admin", "--must-change-password=false", *person]
            subprocess.run(made, env=env, check=True, capture_output=True)
            asked = [
                *admin,
                "generate-access-token",
                "--username",
                "ana",
                "--scopes",
                "all",
                "--raw",
            ]
            token = subprocess.check_output(asked, env=env, text=True).split()[-1]
            signed_in = {"Authorization": f"token {token}"}
            url = f"http://127.0.0.1:{port}"
            with httpx.Client(base_url=url, headers=signed_in, timeout=60) as http:
                yield Gitea(url, token, http)
        finally:
            daemon.stop()


@pytest.fixture
def site(make_site: Callable[..., Any]) -> Site:
    site = make_site(hook_key="k" * 40)
    site.add_base()
    return site


@pytest.fixture
def kit(site: Site, gitea: Gitea, tmp_path: Path) -> Iterator[Services]:
    """What a worker of the site works with, and the operator's secrets for the forge."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "told.toml").write_text(
        f'use = "status"\nurl = "{gitea.url}"\npassword = "{gitea.token}"\n'
    )
    (secrets / "robot.toml").write_text(
        f'use = "gitops"\nurl = "{gitea.url}"\nusername = "ana"\npassword = "{gitea.token}"\n'
        'repositories = ["ana/deploy"]\n'
    )
    kit = Services(
        WorkerSettings(
            database_url=site.settings.database_url, data=tmp_path, secrets=secrets, local=True
        )
    )
    yield kit
    kit.close()


def until(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(what)


def build_of(site: Site, commit: str) -> Any:
    """The build of a commit, once the forge told of it."""

    def find() -> Any:
        found = site.http.get("/v1/builds").json()["items"]
        return next(
            (one for one in found if one["request"]["source"]["git"]["ref"] == commit), None
        )

    return until(find, f"no build of {commit}")


def settle(site: Site) -> None:
    with writing(site.engine) as session:
        catalog_hooks.settle(session)


def resolves(site: Site, name: str) -> int:
    return int(site.http.get("/v1/resolve", params={"env": name}).status_code)


def test_gitea_pushes_tags_and_proposes_and_hears_what_came_of_it(
    site: Site, gitea: Gitea, kit: Services
) -> None:
    repo = gitea.api("POST", "/user/repos", name="gan", auto_init=True, default_branch="main")
    asked = {
        "forge": "gitea",
        "url": repo["clone_url"],
        "tags": [{"pattern": "v*"}],
        "pulls": True,
        "status_secret": "told",
    }
    hook = site.http.post("/v1/environments/hep/gan/hooks", json=asked).json()
    gitea.api(
        "POST",
        "/repos/ana/gan/hooks",
        type="gitea",
        active=True,
        events=["push", "pull_request", "pull_request_sync", "create", "delete"],
        config={
            "url": site.url + hook["path"],
            "content_type": "json",
            "secret": hook["secret"],
        },
    )

    pushed = gitea.write("gan", "requirements.txt", "six\n", branch="main")
    build = build_of(site, pushed)
    assert build["environment"] == "hep/gan"
    following.report(kit)
    assert gitea.api("GET", f"/repos/ana/gan/commits/{pushed}/status")["state"] == "pending"
    site.workers.build(build["id"], commit=pushed, branches=["main"])
    settle(site)
    following.report(kit)
    assert gitea.api("GET", f"/repos/ana/gan/commits/{pushed}/status")["state"] == "success"

    gitea.api("POST", "/repos/ana/gan/tags", tag_name="v1", message="annotated", target=pushed)
    until(lambda: resolves(site, "hep/gan:v1") == 200, "the tag is no name")
    gitea.api("DELETE", "/repos/ana/gan/tags/v1")
    until(lambda: resolves(site, "hep/gan:v1") == 404, "the deleted tag is a name")

    gitea.write("gan", "README.txt", "x", branch="main", new_branch="topic")
    topic = gitea.write("gan", "requirements-dev.txt", "rich\n", branch="topic")
    pull = gitea.api("POST", "/repos/ana/gan/pulls", title="t", head="topic", base="main")
    proposed = build_of(site, topic)
    assert proposed["environment"] == f"hep/gan-pr-{pull['number']}"
    site.workers.build(proposed["id"], commit=topic)
    settle(site)
    assert resolves(site, proposed["environment"]) == 200
    gitea.api("PATCH", f"/repos/ana/gan/pulls/{pull['number']}", state="closed")
    until(lambda: resolves(site, proposed["environment"]) == 410, "the environment is there")


def test_pins_are_proposed_to_gitea_said_anew_merged_and_then_there(
    site: Site, gitea: Gitea, kit: Services
) -> None:
    repo = gitea.api("POST", "/user/repos", name="deploy", auto_init=True, default_branch="main")
    gitea.write("deploy", "deploy/gan.yaml", MANIFEST.format(OLD), branch="main")
    site.new_version(digest=OLD.partition("@")[2], packages=[package("torch", "2.3.0")])
    git = {
        "url": repo["clone_url"],
        "branch": "main",
        "paths": ["deploy"],
        "pull_request": True,
        "forge": "gitea",
        "secret": "robot",
    }
    with writing(site.engine) as session:
        rollouts.add(session, "alice/gan", rollouts.Order("", git=git))
    roll(kit)
    assert gitea.api("GET", OPEN) == []
    site.new_version("x", digest=NEW.partition("@")[2], packages=[package("torch", "2.4.0")])
    roll(kit)
    [pull] = gitea.api("GET", OPEN)
    assert pull["title"] == "alice/gan:2: torch 2.3.0 -> 2.4.0"
    assert "Changed:\n    torch 2.3.0 -> 2.4.0" in pull["body"]
    site.new_version("y", digest=OLD.partition("@")[2], packages=[package("torch", "2.3.0")])
    roll(kit)
    assert gitea.api("GET", OPEN) == []  # main names that: it was closed
    site.new_version("z", digest=NEW.partition("@")[2], packages=[package("torch", "2.4.0")])
    roll(kit)
    [again] = gitea.api("GET", OPEN)
    place = f"/repos/ana/deploy/pulls/{again['number']}"
    until(lambda: gitea.api("GET", place)["mergeable"], "the pull request can't be merged")
    gitea.api("POST", f"{place}/merge", Do="merge")
    there = gitea.http.get("/ana/deploy/raw/branch/main/deploy/gan.yaml")
    assert there.text == MANIFEST.format(NEW)


MANIFEST = """\
apiVersion: kubeflow.org/v1
kind: Notebook
metadata:
  name: gan
spec:
  template:
    spec:
      containers:
      - name: gan
        image: {}   # kept
"""


def package(name: str, version: str) -> dict[str, Any]:
    return {"name": name, "version": version, "size_bytes": 1}


def roll(kit: Services) -> None:
    """Do what is due; the newest run has ended and has nothing to complain of."""
    for run in rolling.due(kit):
        rolling.roll(kit, run)
    with reading(kit.engine) as session:
        last = session.query(RolloutRun).order_by(RolloutRun.number.desc()).first()
        assert (last.state, last.problem) == (RunState.DONE, "")
