"""A real JupyterHub offers a real server's environments and starts notebooks on them.

Only the pod is replaced: KubeSpawner's own form, profiles and overrides choose what a process on
this machine is started with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from conftest import part
from playwright.sync_api import Browser
from rig.hub import Hub, jupyterhub
from rig.process import free_port

HERE = Path(__file__).parent
Server = Any
REPO = "https://git.example/hep/GAN.git"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def kitbag_server(
    serve: Callable[..., AbstractContextManager[Server]],
    tmp_path_factory: pytest.TempPathFactory,
    port: int,
) -> Iterator[Server]:
    """A server whose notebooks start at the hub, with environments of ana, bob and hep."""
    launch = f"http://127.0.0.1:{port}/hub/spawn?opt-profile={{profile}}"
    with serve(tmp_path_factory.mktemp("kitbag"), launch_url=launch) as found:
        for name in ("ana/tools", "bob/secret", "hep/gan"):
            found.build(name)
        yield found


@pytest.fixture(scope="module")
def hub(kitbag_server: Server, port: int) -> Iterator[Hub]:
    cache = HERE.parents[1] / ".cache/rig"
    config = HERE / "hub/jupyterhub_config.py"
    with part(jupyterhub(cache, config, port, kitbag_server.env)) as started:
        yield started


def start(hub: Hub, user: str, **options: str) -> dict[str, str]:
    """The variables of the user's server, started anew with these options."""
    stop(hub, user)
    hub.api.post(f"/users/{user}")
    asked = hub.api.post(f"/users/{user}/server", json=options)
    assert asked.status_code in (201, 202), hub.log[-3000:]
    wait(lambda: hub.server(user) is not None, hub)
    return hub.environment(user)


def stop(hub: Hub, user: str) -> None:
    hub.api.delete(f"/users/{user}/server")
    wait(lambda: not hub.api.get(f"/users/{user}").json().get("servers"), hub)


def wait(done: Callable[[], bool], hub: Hub) -> None:
    deadline = time.monotonic() + 90
    while not done():
        assert time.monotonic() < deadline, hub.log[-3000:]
        time.sleep(0.1)


@pytest.mark.slow
def test_a_user_is_offered_their_own_and_shared_environments(hub: Hub) -> None:
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=60) as http:
        form = http.get("/hub/login").text
        xsrf = re.search(r'name="_xsrf"\s+value="([^"]+)"', form)
        assert xsrf is not None, form
        sent = {"username": "ana", "password": "x", "_xsrf": xsrf.group(1)}
        shown = http.post("/hub/login?next=/hub/spawn", data=sent).text
    assert [name in shown for name in ("Plain", "ana/tools", "hep/gan")] == [True] * 3
    assert "bob/secret" not in shown


@pytest.mark.slow
def test_a_notebook_starts_on_the_digest_and_knows_its_name(
    hub: Hub, kitbag_server: Server
) -> None:
    image = kitbag_server.build("ana/first")
    told = start(hub, "ana", profile="ana.first")
    assert told["JUPYTER_IMAGE_SPEC"] == told["KALE_DEFAULT_BASE_IMAGE"] == image
    assert told["KITBAG_ENVIRONMENT"] == "ana/first:1"
    assert told["KITBAG_URL"] == kitbag_server.url


@pytest.mark.slow
def test_each_start_has_the_newest_version_or_the_one_that_is_asked_for(
    hub: Hub, kitbag_server: Server
) -> None:
    first = kitbag_server.build("ana/moving")
    second = kitbag_server.build("ana/moving", "rich")
    assert start(hub, "ana", profile="ana.moving")["JUPYTER_IMAGE_SPEC"] == second
    told = start(hub, "ana", profile="ana.moving.1")
    assert (told["JUPYTER_IMAGE_SPEC"], told["KITBAG_ENVIRONMENT"]) == (first, "ana/moving:1")


@pytest.mark.slow
def test_nothing_of_the_last_start_stays(hub: Hub) -> None:
    assert "KITBAG_ENVIRONMENT" in start(hub, "ana", profile="hep.gan")
    told = start(hub, "ana", profile="plain")
    assert "KITBAG_ENVIRONMENT" not in told and "KALE_DEFAULT_BASE_IMAGE" not in told


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["bob.secret", "bob.secret.1", "ana.nothing", "../x", "😀"])
def test_what_is_not_offered_does_not_start(hub: Hub, profile: str) -> None:
    stop(hub, "ana")
    hub.api.post("/users/ana")
    asked = hub.api.post("/users/ana/server", json={"profile": profile})
    assert asked.status_code == 500, asked.text
    assert hub.server("ana") is None


@pytest.mark.slow
def test_a_link_builds_a_repository_and_ends_in_a_notebook_on_it(
    hub: Hub, kitbag_server: Server, browser: Browser
) -> None:
    context = browser.new_context()
    tab = context.new_page()
    tab.goto(
        f"{kitbag_server.url}/v1/launch/git/{quote(REPO, safe='')}/main?environment=hep/linked"
    )
    tab.get_by_role("button", name="Build and launch").click()
    tab.get_by_label("Username").fill("carol")
    tab.get_by_label("Password").fill("x")
    tab.get_by_role("button", name="Sign in").click()
    tab.wait_for_url("**/user/carol/**", timeout=90_000)
    told = hub.environment("carol")
    with kitbag_server.client() as client:
        assert told["JUPYTER_IMAGE_SPEC"] == client.resolve("hep/linked:1").image
    assert told["KITBAG_ENVIRONMENT"] == "hep/linked:1"
    context.close()
