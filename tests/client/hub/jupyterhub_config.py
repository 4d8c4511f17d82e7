"""The hub of the tests: KubeSpawner's profiles and options, on processes instead of pods."""

from __future__ import annotations

import os
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from kubespawner import KubeSpawner

from kitbag.jupyterhub import Launcher


class LocalSpawner(SimpleLocalProcessSpawner, KubeSpawner):  # type: ignore[misc]
    """KubeSpawner with the pod replaced: what it would start becomes a process here."""

    async def start(self) -> Any:
        self.port = 0
        await self.load_user_options()
        return await super().start()


folder = os.environ["HUB_FOLDER"]
port, api_port, proxy_port = (os.environ[f"HUB_{n}PORT"] for n in ("", "API_", "PROXY_"))
c = get_config()  # type: ignore[name-defined]  # noqa: F821

kitbag = Launcher(
    shared=["hep"],
    profiles=[{"slug": "plain", "display_name": "Plain", "default": True}],
)
c.KubeSpawner.profile_list = kitbag.profile_list
c.KubeSpawner.pre_spawn_hook = kitbag.pre_spawn_hook

c.JupyterHub.spawner_class = LocalSpawner
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = f"{folder}/proxy.pid"
c.JupyterHub.db_url = f"sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{folder}/cookie_secret"
c.JupyterHub.services = [{"name": "test", "api_token": os.environ["HUB_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "test",
        "services": ["test"],
        "scopes": ["admin:users", "admin:servers", "admin:server_state"],
    }
]
c.SimpleLocalProcessSpawner.home_dir_template = f"{folder}/home-{{username}}"
c.Spawner.ip = "127.0.0.1"
c.Spawner.cmd = ["jupyterhub-singleuser"]
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/api"
c.Spawner.http_timeout = 60
c.LocalProcessSpawner.interrupt_timeout = 1
