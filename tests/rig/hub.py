"""A JupyterHub with its proxy: real users, forms and single-user servers on this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rig.process import Daemon, MissingPartError, free_port, program, temp_dir

_PACKAGE = Path(__file__).parents[1] / "client/hub/proxy"

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: none, user: {}}]
"""
"""Of no cluster: KubeSpawner wants to read one, even where it starts no pod."""


class Hub:
    """A running hub; `token` is an administrator's."""

    def __init__(self, url: str, token: str, daemon: Daemon) -> None:
        self.url = url
        self.api = httpx.Client(
            base_url=f"{url}/hub/api", headers={"Authorization": f"token {token}"}, timeout=60
        )
        self._daemon = daemon

    @property
    def log(self) -> str:
        return self._daemon.log

    def server(self, user: str) -> dict[str, Any] | None:
        """The user's server as the hub knows it, with its state; None while there is none."""
        found = self.api.get(f"/users/{user}").json().get("servers", {}).get("")
        return found if found and found["ready"] else None

    def environment(self, user: str) -> dict[str, str]:
        """The variables that the user's server was started with."""
        server = self.server(user)
        assert server is not None, self.log[-3000:]
        block = Path(f"/proc/{server['state']['pid']}/environ").read_bytes().decode()
        return dict(line.partition("=")[::2] for line in block.split("\0") if "=" in line)


def proxy_folder(cache: Path) -> Path:
    """The folder with `configurable-http-proxy`, which npm fetches once for each lock."""
    lock = (_PACKAGE / "package-lock.json").read_bytes()
    folder = cache / f"proxy-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        npm = program("npm", "npm")
        with temp_dir("npm") as place:
            shutil.copytree(_PACKAGE, place, dirs_exist_ok=True)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            if done.returncode:
                raise MissingPartError(f"npm could not fetch the hub's proxy: {done.stderr[-500:]}")
            cache.mkdir(parents=True, exist_ok=True)
            shutil.copytree(place, folder, symlinks=True, dirs_exist_ok=True)
    return folder / "node_modules/.bin"


@contextmanager
def jupyterhub(cache: Path, config: Path, port: int, variables: Mapping[str, str]) -> Iterator[Hub]:
    """Start a hub with this configuration, whose variables are these and HUB_… of its own."""
    programs = proxy_folder(cache)
    program("node", "nodejs")
    token = secrets.token_hex(16)
    url = f"http://127.0.0.1:{port}"
    with temp_dir("hub") as folder:
        (folder / "kubeconfig").write_text(KUBECONFIG)
        path = os.pathsep.join([str(Path(sys.executable).parent), str(programs)])
        env = {
            "PATH": os.pathsep.join([path, os.environ["PATH"]]),
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "HUB_FOLDER": str(folder),
            "HUB_PORT": str(port),
            "HUB_API_PORT": str(free_port()),
            "HUB_PROXY_PORT": str(free_port()),
            "HUB_TOKEN": token,
        }
        daemon = Daemon(
            [sys.executable, "-m", "jupyterhub", "--config", str(config)],
            log=folder / "log",
            ready=lambda: _answers(url),
            timeout_s=90,
            env=env | dict(variables),
        )
        daemon.start()
        try:
            yield Hub(url, token, daemon)
        finally:
            daemon.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hub/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
