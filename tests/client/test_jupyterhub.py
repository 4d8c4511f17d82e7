"""A real JupyterHub offers a real server's environments and starts notebooks on them.

Only the pod is replaced: KubeSpawner's own form, profiles and overrides choose what a process on
this machine is started with.
"""

from __future__ import annotations

import asyncio
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
from kubernetes_asyncio.config import kube_config
from kubespawner import KubeSpawner
from playwright.sync_api import Browser
from rig.hub import KUBECONFIG, Hub, jupyterhub
from rig.process import free_port

from kitbag import Client
from kitbag.jupyterhub import Launcher, NotOfferedError
from kitbag.source import Files

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
            build(found, name)
        yield found


@pytest.fixture(scope="module")
def hub(kitbag_server: Server, port: int) -> Iterator[Hub]:
    cache = HERE.parents[1] / ".cache/rig"
    config = HERE / "hub/jupyterhub_config.py"
    with part(jupyterhub(cache, config, port, kitbag_server.env)) as started:
        yield started


def build(server: Server, name: str, text: str = "six") -> str:
    """A version of the environment; its image."""
    with Client(server.url) as client:
        asked = client.build(Files({"requirements.txt": f"{text}\n"}), name=name)
        image = client.wait(asked, timeout_s=60).image
    assert image is not None
    return image


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
    image = build(kitbag_server, "ana/first")
    told = start(hub, "ana", profile="ana.first")
    assert told["JUPYTER_IMAGE_SPEC"] == told["KALE_DEFAULT_BASE_IMAGE"] == image
    assert told["KITBAG_ENVIRONMENT"] == "ana/first:1"
    assert told["KITBAG_URL"] == kitbag_server.url


@pytest.mark.slow
def test_each_start_has_the_newest_version_or_the_one_that_is_asked_for(
    hub: Hub, kitbag_server: Server
) -> None:
    first = build(kitbag_server, "ana/moving")
    second = build(kitbag_server, "ana/moving", "rich")
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


class Spawner:
    """What the launcher asks of a spawner."""

    def __init__(self, user: str, image: str | None = None, **options: str) -> None:
        self.user = type("User", (), {"name": user})()
        self.image, self.user_options = image, options
        self.environment: dict[str, str] = {"KEPT": "yes"}
        self.pending: str | None = None


def profiles(launcher: Launcher, spawner: Any) -> dict[str, Any]:
    found = asyncio.run(launcher.profile_list(spawner))
    return {profile["slug"]: profile for profile in found}


def hook(launcher: Launcher, spawner: Any) -> None:
    asyncio.run(launcher.pre_spawn_hook(spawner))


def test_the_hook_resolves_references_anew_at_each_start(server: Server) -> None:
    launcher, spawner = Launcher(server.url), Spawner("hook", "kitbag://hook/tools")
    first = build(server, "hook/tools")
    hook(launcher, spawner)
    assert spawner.image == first
    assert spawner.environment["KITBAG_ENVIRONMENT"] == "hook/tools:1"
    second = build(server, "hook/tools", "rich")
    hook(launcher, spawner)
    assert (spawner.image, spawner.environment["KALE_DEFAULT_BASE_IMAGE"]) == (second, second)
    assert spawner.environment["KEPT"] == "yes"


def test_the_hook_resolves_the_image_that_a_user_chose(server: Server) -> None:
    image = build(server, "chosen/tools")
    spawner = Spawner("chosen", image="kitbag://nobody/nothing")
    spawner.image, spawner.user_options = None, {"image": "kitbag://chosen/tools:1"}
    hook(Launcher(server.url), spawner)
    assert spawner.user_options == {"image": image}


def test_other_images_stay_as_they_are(server: Server) -> None:
    spawner = Spawner("hook", "quay.io/jupyter/base-notebook:1")
    hook(Launcher(server.url, notebook_url="http://kitbag.svc"), spawner)
    assert spawner.image == "quay.io/jupyter/base-notebook:1"
    assert spawner.environment == {"KEPT": "yes", "KITBAG_URL": "http://kitbag.svc"}


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("kitbag://others/tools", "mallory may not start others/tools"),
        ("kitbag://mallory/none", "no environment"),
        ("kitbag://../../x", "is not an environment"),
    ],
)
def test_the_hook_refuses_what_the_user_may_not_have(server: Server, image: str, told: str) -> None:
    build(server, "others/tools")
    with pytest.raises(NotOfferedError, match=told) as refused:
        hook(Launcher(server.url), Spawner("mallory", image))
    assert told in refused.value.jupyterhub_message


@pytest.mark.parametrize("user", ["ana.b", "Ana", "a/b", "ana@example.org", "", "../others"])
def test_a_name_that_no_namespace_can_have_is_not_bent_into_one(server: Server, user: str) -> None:
    assert profiles(Launcher(server.url, shared=[]), Spawner(user)) == {}


def test_operators_map_users_and_name_profiles_of_their_own(server: Server) -> None:
    image = build(server, "team/tools")
    own = {"slug": "team", "display_name": "Team"}
    own |= {"kubespawner_override": {"image": "kitbag://team/tools:1", "environment": {"A": "b"}}}
    launcher = Launcher(server.url, namespaces=lambda _: ["mapped"], shared=[], profiles=[own])
    build(server, "mapped/mine")
    found = profiles(launcher, Spawner("whoever@example.org"))
    assert list(found) == ["team", "mapped.mine"]
    override = found["team"]["kubespawner_override"]
    assert override["image"] == override["environment"]["KALE_DEFAULT_BASE_IMAGE"] == image
    assert override["environment"]["A"] == "b"
    assert own["kubespawner_override"]["image"] == "kitbag://team/tools:1"  # type: ignore[index]


def test_without_a_server_the_hubs_own_profiles_are_left() -> None:
    own = [{"slug": "plain", "display_name": "Plain"}]
    launcher = Launcher(f"http://127.0.0.1:{free_port()}", profiles=own)
    assert list(profiles(launcher, Spawner("ana"))) == ["plain"]
    starting = Spawner("ana", profile="ana.tools")
    starting.pending = "spawn"
    with pytest.raises(NotOfferedError, match="no server answers"):
        profiles(launcher, starting)


def test_kubespawner_makes_a_pod_with_the_digest(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = build(server, "pods/tools")
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    launcher = Launcher(server.url)

    async def pod() -> Any:
        spawner = KubeSpawner(_mock=True, profile_list=launcher.profile_list)
        spawner.user.name = "pods"
        spawner.user_options = {"profile": "pods.tools"}
        spawner.pre_spawn_hook = launcher.pre_spawn_hook
        await spawner.run_pre_spawn_hook()
        await spawner.load_user_options()
        return await spawner.get_pod_manifest()

    (container,) = asyncio.run(pod()).spec.containers
    assert container.image == image
    variables = {one.name: one.value for one in container.env}
    assert variables["KITBAG_ENVIRONMENT"] == "pods/tools:1"
    assert variables["KALE_DEFAULT_BASE_IMAGE"] == image


def test_a_version_for_several_accelerators_is_a_choice(server: Server) -> None:
    with server.client() as client:
        files = Files({"requirements.txt": "six\n"})
        asked = client.build(files, name="many/tools", accelerators=["cpu", "cuda"])
        client.wait(asked, timeout_s=60)
        images = client.resolve("many/tools").images
    limits = {"extra_resource_limits": {"nvidia.com/gpu": "1"}}
    launcher = Launcher(server.url, overrides={"cuda": limits})
    offered = profiles(launcher, Spawner("many"))["many.tools"]
    choices = offered["profile_options"]["accelerator"]["choices"]
    assert [choices[name].get("default") for name in ("cpu", "cuda")] == [True, False]
    for name in ("cpu", "cuda"):
        override = choices[name]["kubespawner_override"]
        assert override["image"] == override["environment"]["KALE_DEFAULT_BASE_IMAGE"]
        assert override["image"] == images[name]
    assert choices["cuda"]["kubespawner_override"].items() >= limits.items()
    assert "extra_resource_limits" not in choices["cpu"]["kubespawner_override"]
