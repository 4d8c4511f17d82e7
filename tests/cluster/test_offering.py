"""Environments that are offered, in the image list of a Jupyter web app of a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Versions
from cluster.kit import Kit
from rig.cluster import Access
from rig.cluster import Cluster as Rig

from catalog import environments
from catalog.engine import make_engine, migrate, writing
from worker import offering
from worker.services import Services
from worker.settings import WorkerSettings

FILE = "spawner_ui_config.yaml"
LIST = """\
# The operator's own words.
spawnerFormDefaults:
  image:
    value: kubeflownotebookswg/jupyter-scipy:v1.9.2
    options:
    - kubeflownotebookswg/jupyter-scipy:v1.9.2
    - kubeflownotebookswg/jupyter-pytorch:v1.9.2   # for GPUs
  imagePullPolicy:
    value: IfNotPresent
"""
RIGHTS = [
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]},
]


class Launcher:
    """A web app's Deployment with its ConfigMaps, and a worker with its service account."""

    def __init__(self, cluster: Rig, folder: Path) -> None:
        self.admin, self.namespace = cluster.admin, cluster.namespace()
        self.worker: Access = cluster.service_account(self.namespace, "kitbag-worker")
        cluster.allow(self.worker, self.namespace, RIGHTS)
        for name, data in (("logos", {"logo.svg": "<svg/>"}), ("config-hm7g", {FILE: LIST})):
            self._make("v1", "ConfigMap", name, data={**data, "other": "stays"})
        mounted = [{"configMap": {"name": name}, "name": name} for name in ("logos", "config-hm7g")]
        volumes = [{"name": "tmp", "emptyDir": {}}, *mounted]
        pod = {"containers": [{"name": "jupyter-web-app", "image": "jwa:1"}], "volumes": volumes}
        labels = {"app": "jupyter-web-app"}
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        self._make("apps/v1", "Deployment", "jupyter-web-app-deployment", spec=spec)
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        settings: dict[str, Any] = {
            "cluster": str(self.worker.kubeconfig),
            "spawner": f"{self.namespace}/jupyter-web-app-deployment",
        }
        self.kit = Services(WorkerSettings(database_url=url, data=folder, **settings))
        self.versions = Versions(self.kit.engine)

    def _make(self, api_version: str, kind: str, name: str, **fields: Any) -> None:
        start = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        path = f"{start}/namespaces/{self.namespace}/{kind.lower()}s"
        self.admin.call("POST", path, {"metadata": {"name": name}, **fields})

    def apply(self, **data: str) -> None:
        """What the operator's own deployment of the ConfigMap does."""
        metadata = {"name": "config-hm7g", "namespace": self.namespace}
        self.admin.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        )

    def offer(self, environment: str, offered: bool = True) -> None:
        with writing(self.kit.engine) as session:
            environments.offer(session, environment, offered)

    def config(self) -> dict[str, Any]:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/config-hm7g"
        return self.admin.call("GET", path)

    def listed(self) -> str:
        text: str = self.config()["data"][FILE]
        return text


@pytest.fixture
def launcher(cluster: Rig, tmp_path: Path) -> Launcher:
    return Launcher(cluster, tmp_path)


def with_images(*images: str) -> str:
    line = "    - kubeflownotebookswg/jupyter-pytorch:v1.9.2   # for GPUs\n"
    return LIST.replace(line, line + "".join(f"    - {image}\n" for image in images))


def test_what_is_offered_is_listed_follows_its_versions_and_goes(launcher: Launcher) -> None:
    first, other = launcher.versions.add("hep/gan"), launcher.versions.add("hep/other")
    launcher.versions.add("hep/hidden")
    for name in ("hep/gan", "hep/other"):
        launcher.offer(name)
    assert offering.offer(launcher.kit)
    assert launcher.listed() == with_images(first, other)
    second = launcher.versions.add("hep/gan")
    assert offering.offer(launcher.kit)
    assert launcher.listed() == with_images(second, other)
    launcher.offer("hep/gan", offered=False)
    assert offering.offer(launcher.kit)
    assert launcher.listed() == with_images(other)
    assert launcher.config()["data"]["other"] == "stays"
    launcher.offer("hep/other", offered=False)
    assert offering.offer(launcher.kit)
    assert launcher.listed() == LIST


def test_nothing_is_written_where_nothing_changed(launcher: Launcher) -> None:
    launcher.versions.add("hep/gan")
    launcher.offer("hep/gan")
    assert offering.offer(launcher.kit)
    before = launcher.config()["metadata"]["resourceVersion"]
    assert offering.offer(launcher.kit)
    assert launcher.config()["metadata"]["resourceVersion"] == before


def test_what_the_operator_applies_anew_gets_the_entries_again(launcher: Launcher) -> None:
    image = launcher.versions.add("hep/gan")
    launcher.offer("hep/gan")
    assert offering.offer(launcher.kit)
    launcher.apply(**{FILE: LIST, "other": "stays"})
    assert launcher.listed() == LIST
    assert offering.offer(launcher.kit)
    assert launcher.listed() == with_images(image)


@pytest.mark.parametrize("broken", ["not json", "[1]", '{"hep/gan": 1}'])
def test_a_broken_record_takes_nothing_away(launcher: Launcher, broken: str) -> None:
    launcher.admin.kubectl(
        *("-n", launcher.namespace, "annotate", "configmap", "config-hm7g"),
        f"{offering.ANNOTATION}={broken}",
    )
    image = launcher.versions.add("hep/gan")
    launcher.offer("hep/gan")
    assert offering.offer(launcher.kit)
    assert launcher.listed() == with_images(image)
    record = launcher.config()["metadata"]["annotations"][offering.ANNOTATION]
    assert json.loads(record) == {"hep/gan": image}


def test_what_can_not_be_edited_stays_and_is_told(
    launcher: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    launcher.versions.add("hep/gan")
    launcher.offer("hep/gan")
    text = "spawnerFormDefaults:\n  image:\n    options: [a, b]\n"
    launcher.apply(**{FILE: text})
    assert not offering.offer(launcher.kit)
    assert launcher.listed() == text
    assert "must be a list" in caplog.text


@pytest.mark.parametrize(
    ("spawner", "told"),
    [("{}/none", "there is no Deployment"), ("kube-system/x", "doesn't allow it")],
)
def test_a_wrong_place_is_told(
    launcher: Launcher, caplog: pytest.LogCaptureFixture, spawner: str, told: str
) -> None:
    spawner = spawner.format(launcher.namespace)
    launcher.kit.settings = launcher.kit.settings.model_copy(update={"spawner": spawner})
    assert not offering.offer(launcher.kit)
    assert told in caplog.text


@pytest.mark.slow
def test_an_offer_reaches_the_launcher_of_a_running_server_and_so_does_its_next_version(
    launcher: Launcher, tmp_path: Path
) -> None:
    settings = {
        "KITBAG_CLUSTER": str(launcher.worker.kubeconfig),
        "KITBAG_SPAWNER": launcher.kit.settings.spawner,
        "KITBAG_SWEEP_S": "0.5",
    }
    server = Kit(tmp_path / "kit/data", settings, launcher.worker.kubeconfig)
    server.up.start()
    engine = make_engine(f"sqlite:///{server.data}/catalog.db")
    try:
        versions = Versions(engine)
        image = versions.add("hep/gan")
        assert server.json("offer", "hep/gan")["offered"] is True
        wait(lambda: launcher.listed() == with_images(image), server)
        image = versions.add("hep/gan")
        wait(lambda: launcher.listed() == with_images(image), server)
        assert server.json("offer", "hep/gan", "--off")["offered"] is False
        wait(lambda: launcher.listed() == LIST, server)
        done = server.kitbag("offer", "hep/none")
        assert (done.returncode, done.stdout) == (2, "")
        assert "no environment" in done.stderr and done.stderr.count("\n") == 1
    finally:
        engine.dispose()
        server.up.stop(timeout_s=60)


def wait(done: Callable[[], bool], server: Kit) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, server.up.log[-3000:]
        time.sleep(0.1)
