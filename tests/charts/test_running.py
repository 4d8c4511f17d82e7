"""The rendered pods, run: the same arguments, variables and files, on the rig's servers.

What stands in for a cluster: a Service's name is a loopback port, a volume is a folder, and the
root is mounted read-only for each process, as the pods ask for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from charts.conftest import Render, only
from e2e.servers import BASES, BIN, ENDED, NO_REGISTRY
from rig.helm import Object
from rig.postgres import Postgres
from rig.process import Daemon, accepts, free_port, program, temp_dir
from rig.redis import RedisServer
from rig.registry import Registry
from rig.wheels import WheelFactory

from builder.bases.debian import debian
from builder.stores.layout import LayoutStore

pytestmark = [pytest.mark.rig, pytest.mark.slow, pytest.mark.timeout(1200)]
TOKEN = "the-token-of-the-callers"
QUEUE_PASSWORD = "qu3uePassw0rd"
_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class Process:
    """A container's command line and variables on this machine."""

    argv: list[str]
    log: Path
    environ: dict[str, str]

    def run(self) -> None:
        """Run it to its end, which must be a good one."""
        done = subprocess.run(
            self.argv, env=self.environ, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr

    def daemon(self, ready: Callable[[], bool]) -> Daemon:
        return Daemon(self.argv, log=self.log, ready=ready, timeout_s=120, env=self.environ)


@dataclass
class Cluster:
    """What a kubelet does for a container: its variables, its files, where names lead to."""

    folder: Path
    objects: list[Object]
    names: dict[str, str] = field(default_factory=dict)  # "kb-kitbag-redis:6379" -> "127.0.0.1:N"

    def secret(self, name: str, key: str) -> str:
        found = [e for e in self.objects if e["kind"] == "Secret" and e["metadata"]["name"] == name]
        value: str = found[0]["stringData"][key]
        return value

    def volumes(self, pod: Object) -> dict[str, Path]:
        """Where each mount path lies on this machine, filled as the volume says."""
        mounts: dict[str, Path] = {}
        named = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for mount in pod["containers"][0]["volumeMounts"]:
            volume = named.get(mount["name"], {})
            shared = "persistentVolumeClaim" in volume
            owner = "shared" if shared else pod["containers"][0]["name"]
            folder = self.folder / owner / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            for item in volume.get("secret", {}).get("items", []):
                text = self.secret(volume["secret"]["secretName"], item["key"])
                (folder / item["path"]).write_text(text)
            mounts[mount["mountPath"]] = folder
        return mounts

    def environ(self, pod: Object) -> dict[str, str]:
        """The container's variables; `$(NAME)` is one before it, a mount path is its folder."""
        container, mounts = pod["containers"][0], self.volumes(pod)
        values: dict[str, str] = {}
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                chosen = variable["valueFrom"]["secretKeyRef"]
                value = self.secret(chosen["name"], chosen["key"])
            else:
                value = variable["value"]
            value = _expanded(value, values)
            for path, folder in mounts.items():
                if value == path or value.startswith(f"{path}/"):
                    value = f"{folder}{value.removeprefix(path)}"
            for name, address in self.names.items():
                value = value.replace(name, address)
            values[variable["name"]] = value
        return values

    def process(self, pod: Object, command: str, replaced: Mapping[str, str]) -> Process:
        """The pod's container as a process; `replaced` are ports and paths of this machine."""
        container, variables = pod["containers"][0], self.environ(pod)
        arguments = [_expanded(each, variables) for each in container["args"]]
        arguments = [replaced.get(each, each) for each in arguments]
        temporary = self.folder / container["name"] / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(temporary), **_authorities()}
        return Process(
            [*_read_only(self.folder), command, *arguments],
            self.folder / f"{container['name']}.log",
            {**environ, **variables},
        )


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = text.replace(f"$({name})", value)
    return text


def _read_only(writable: Path) -> list[str]:
    """A mount namespace where only `writable` can be written; needs root."""
    if os.geteuid() != 0:
        return []
    unshare = program("unshare", "util-linux")
    return [unshare, "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY, "pod",
            str(writable)]  # fmt: skip


def _authorities() -> dict[str, str]:
    """What this machine trusts."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    return {name: os.environ[name] for name in names if name in os.environ}


@pytest.fixture
def bases(tmp_path: Path) -> Path:
    """The folder of Debian roots that the runs on this machine share, with one made."""
    if shutil.which("mmdebstrap") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "mmdebstrap is not installed: `apt-get install mmdebstrap` brings it"
        )
    BASES.mkdir(parents=True, exist_ok=True)
    debian(LayoutStore(tmp_path / "layout"), cache=BASES, report=lambda _: None)
    return BASES


@pytest.fixture
def installed(
    render: Render,
    postgres: Postgres,
    redis_server: RedisServer,  # not used, but it says that Redis is installed
    basic_registry: Registry,
    wheel_factory: WheelFactory,
    bases: Path,
    tmp_path: Path,
) -> Iterator[httpx.Client]:
    """The chart with a queue of its own, as `helm install` would start it: hook, queue, parts."""
    wheel_factory.wheel("pip", "99.0")  # every environment has it
    wheel_factory.wheel("one", "1.0")
    database_url = postgres.create_database()
    docker_config = basic_registry.docker_config(tmp_path / "docker").read_text()
    objects = render(
        {
            "database": {"url": database_url, "existingSecret": {"name": ""}},
            "redis": {"passwordSecret": {"name": "queue", "key": "password"}},
            "store": f"registry://{basic_registry.host}/chart",
            "dockerConfig": {"json": docker_config},
            "apiToken": {"value": TOKEN, "existingSecret": {"name": ""}},
            "index": {"url": wheel_factory.index_url},
            "baseImage": NO_REGISTRY,
        }
    )
    queue = {"kind": "Secret", "metadata": {"name": "queue"}}
    objects.append({**queue, "stringData": {"password": QUEUE_PASSWORD}})
    pods = {
        part: only(objects, kind, f"-{part}")["spec"]["template"]["spec"]
        for part, kind in (
            ("migrate", "Job"),
            ("redis", "StatefulSet"),
            ("worker", "Deployment"),
            ("api", "Deployment"),
        )
    }
    redis_port, api_port = free_port(), free_port()
    with temp_dir("chart") as folder, ExitStack() as stack:
        cluster = Cluster(folder, objects, {"kb-kitbag-redis:6379": f"127.0.0.1:{redis_port}"})
        cache = cluster.volumes(pods["worker"])["/var/cache/kitbag"]
        shutil.copytree(bases, cache / "bases")
        http = stack.enter_context(
            httpx.Client(
                base_url=f"http://127.0.0.1:{api_port}",
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=60,
                trust_env=False,
            )
        )
        server = str(BIN / "kitbag-server")
        moved = {"6379": str(redis_port), "/data": str(cluster.volumes(pods["redis"])["/data"])}
        probes = pods["api"]["containers"][0]
        stages = [
            ("redis", program("redis-server", "redis-server"), lambda: accepts(redis_port), moved),
            ("worker", server, lambda: True, {}),
            (
                "api",
                server,
                lambda: _answers(http, probes["startupProbe"]),
                {"8484": str(api_port)},
            ),
        ]
        stack.callback(postgres.drop_database, database_url)
        cluster.process(pods["migrate"], server, {}).run()
        for part, command, ready, replaced in stages:
            daemon = cluster.process(pods[part], command, replaced).daemon(ready)
            stack.callback(daemon.stop, timeout_s=60)
            daemon.start()
        deadline = time.monotonic() + 120
        while not _answers(http, probes["readinessProbe"]):
            logs = "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.1)
        yield http


def _answers(http: httpx.Client, probe: Mapping[str, Any]) -> bool:
    """Whether a probe passes, as the kubelet judges it."""
    try:
        return 200 <= http.get(probe["httpGet"]["path"]).status_code < 400
    except httpx.HTTPError:
        return False


def test_the_rendered_parts_build_an_environment(
    installed: httpx.Client, basic_registry: Registry
) -> None:
    stranger = httpx.get(f"{installed.base_url}/v1/environments", trust_env=False)
    assert stranger.status_code == 401

    source = {"files": {"requirements.txt": "one"}}
    asked = installed.post("/v1/builds", json={"environment": "chart/one", "source": source})
    assert asked.status_code == 202, asked.text
    deadline = time.monotonic() + 800  # a first build, on a machine that may be busy
    while (build := installed.get(f"/v1/builds/{asked.json()['id']}").json())["state"] not in ENDED:
        assert time.monotonic() < deadline, build
        time.sleep(0.05)

    assert build["state"] == "ready", build["error"]
    assert build["image"].startswith(f"{basic_registry.host}/chart/chart/one@sha256:")
    assert build["digest"] in basic_registry.blobs()
