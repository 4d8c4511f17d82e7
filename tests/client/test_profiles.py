"""What a launcher offers a hub's user, and what its hook does to a spawner.

Apart from the hub's own tests: Playwright runs an event loop there.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.config import kube_config
from kubespawner import KubeSpawner
from rig.hub import KUBECONFIG
from rig.process import free_port

from kitbag.jupyterhub import Launcher, NotOfferedError
from kitbag.source import Files

Server = Any


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
    first = server.build("hook/tools")
    hook(launcher, spawner)
    assert spawner.image == first
    assert spawner.environment["KITBAG_ENVIRONMENT"] == "hook/tools:1"
    second = server.build("hook/tools", "rich")
    hook(launcher, spawner)
    assert (spawner.image, spawner.environment["KALE_DEFAULT_BASE_IMAGE"]) == (second, second)
    assert spawner.environment["KEPT"] == "yes"


def test_the_hook_resolves_the_image_that_a_user_chose(server: Server) -> None:
    image = server.build("chosen/tools")
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
    server.build("others/tools")
    with pytest.raises(NotOfferedError, match=told) as refused:
        hook(Launcher(server.url), Spawner("mallory", image))
    assert told in refused.value.jupyterhub_message


@pytest.mark.parametrize("user", ["ana.b", "Ana", "a/b", "ana@example.org", "", "../others"])
def test_a_name_that_no_namespace_can_have_is_not_bent_into_one(server: Server, user: str) -> None:
    assert profiles(Launcher(server.url, shared=[]), Spawner(user)) == {}


def test_operators_map_users_and_name_profiles_of_their_own(server: Server) -> None:
    image = server.build("team/tools")
    own = {"slug": "team", "display_name": "Team"}
    own |= {"kubespawner_override": {"image": "kitbag://team/tools:1", "environment": {"A": "b"}}}
    launcher = Launcher(server.url, namespaces=lambda _: ["mapped"], shared=[], profiles=[own])
    server.build("mapped/mine")
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
    image = server.build("pods/tools")
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
