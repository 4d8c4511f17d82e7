"""Notebooks that a worker starts and restarts on a real API server, in the name of whoever asks."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Versions
from rig.cluster import Cluster as Rig

from catalog.engine import migrate
from catalog.errors import ImageNotFoundError
from kitbag.live.errors import ClusterError, DeniedError, RefusedError, TakenError
from worker import launching, using
from worker.launching import Restart, Start
from worker.services import Services
from worker.settings import WorkerSettings

RIGHTS = [
    {
        "apiGroups": ["kubeflow.org"],
        "resources": ["notebooks", "workspaces"],
        "verbs": ["get", "list", "create", "patch"],
    },
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "create"]},
]
ANA = "ana@example.org"
NUMBERS = itertools.count(1)


class Launcher:
    """A worker that may act as ana alone, who may start notebooks in a namespace of hers."""

    def __init__(self, cluster: Rig, folder: Path) -> None:
        self.rig, self.admin = cluster, cluster.admin
        self.namespace = cluster.namespace()
        self.worker = cluster.user(f"kitbag-worker-{self.namespace}")
        impersonate = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
        cluster.allow(self.worker, rights=[impersonate | {"resourceNames": [ANA]}])
        cluster.allow(ANA, self.namespace, RIGHTS)
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        settings: dict[str, Any] = {
            "cluster": str(self.worker.kubeconfig),
            "cluster_acts_as": "user",
            "notebook_account": "default-editor",
            "public_url": "https://kitbag.example",
        }
        self.kit = Services(WorkerSettings(database_url=url, data=folder, **settings))
        self.versions = Versions(self.kit.engine)

    def start(self, version: str = "hep/gan:1", mark: str = "m1", **more: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "version": version,
            "namespace": self.namespace,
            "acts_as": ANA,
            "name": "gan",
            "form": None,
            "home": "",
            "cpu": "",
            "memory": "",
            "accelerator": None,
            "accelerators": 0,
            "pod_config": "",
        }
        return launching.start(self.kit, Start.model_validate(asked | more), mark)

    def restart(self, version: str, name: str = "gan") -> dict[str, Any]:
        asked = {
            "version": version,
            "namespace": self.namespace,
            "acts_as": ANA,
            "name": name,
        }
        return launching.restart(self.kit, Restart.model_validate(asked))

    def path(self, plural: str, version: str = "v1") -> str:
        return f"/apis/kubeflow.org/{version}/namespaces/{self.namespace}/{plural}"

    def notebook(self, name: str = "gan") -> dict[str, Any]:
        return self.admin.call("GET", f"{self.path('notebooks')}/{name}")

    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.notebook()["spec"]["template"]["spec"]["containers"][0]
        return found

    def claims(self) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"
        found: list[dict[str, Any]] = self.admin.call("GET", path)["items"]
        return found


@pytest.fixture
def launcher(cluster: Rig, tmp_path: Path) -> Launcher:
    return Launcher(cluster, tmp_path)


def told(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


def test_a_notebook_runs_the_digest_and_is_told_what_it_runs_on(launcher: Launcher) -> None:
    image = launcher.versions.add("hep/gan")
    made = launcher.start(home="5Gi", cpu="2", memory="4Gi")
    assert made["path"] == f"/notebook/{launcher.namespace}/gan/"
    assert made["image"] == image
    pod = launcher.notebook()["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "default-editor"
    container = launcher.container()
    assert (container["name"], container["image"]) == ("gan", image)
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "4Gi"},
    }
    assert told(container) == {
        "KITBAG_ENVIRONMENT": "hep/gan:1",
        "KALE_DEFAULT_BASE_IMAGE": image,
        "KITBAG_URL": "https://kitbag.example",
    }
    (claim,) = launcher.claims()
    assert claim["metadata"]["name"] == "gan-home"
    assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["home"]["persistentVolumeClaim"] == {"claimName": "gan-home"}
    assert {"name": "home", "mountPath": "/home/jovyan"} in container["volumeMounts"]
    token = {"audience": "kitbag", "path": "token", "expirationSeconds": 3600}
    assert volumes["kitbag-token"]["projected"]["sources"] == [{"serviceAccountToken": token}]


def test_without_a_size_there_is_no_volume_and_accelerators_are_a_limit(
    launcher: Launcher,
) -> None:
    launcher.versions.add("hep/gan")
    launcher.start(accelerator="cpu")
    assert launcher.claims() == []
    assert launcher.container()["resources"] == {}
    with pytest.raises(ImageNotFoundError, match="has no image for cuda"):
        launcher.start(name="other", accelerators=1)


def test_a_name_that_is_taken_is_told_and_the_same_launch_again_is_not(launcher: Launcher) -> None:
    launcher.versions.add("hep/gan")
    first = launcher.start(home="1Gi")
    before = launcher.notebook()
    again = launcher.start(home="1Gi")
    assert first["say"].endswith("with the new volume gan-home")
    assert again["say"].endswith("with the volume gan-home that was there")
    assert launcher.notebook() == before
    with pytest.raises(TakenError, match=r"already: choose another name, or .* kitbag rollout"):
        launcher.start(mark="m2")
    assert launcher.notebook() == before


def test_the_cluster_decides_what_whoever_asks_may_do(launcher: Launcher) -> None:
    launcher.versions.add("hep/gan")
    elsewhere = launcher.rig.namespace()
    with pytest.raises(DeniedError, match=ANA):
        launcher.start(namespace=elsewhere)
    with pytest.raises(DeniedError, match="impersonate"):
        launcher.start(acts_as="system:admin")
    with pytest.raises(ClusterError, match="nobody is said to ask"):
        launcher.start(acts_as="")


def test_a_running_notebook_is_restarted_on_a_version_and_told_so(launcher: Launcher) -> None:
    launcher.versions.add("hep/gan")
    launcher.start()
    second = launcher.versions.add("hep/gan")
    became = launcher.restart("hep/gan:2")
    assert became["state"] == "done", became["say"]
    container = launcher.container()
    assert container["image"] == second
    assert told(container)["KITBAG_ENVIRONMENT"] == "hep/gan:2"
    assert told(container)["KALE_DEFAULT_BASE_IMAGE"] == second
    assert launcher.restart("hep/gan:2")["state"] == "same"
    assert launcher.restart("hep/gan:2", name="none")["state"] == "gone"


def test_a_notebook_that_another_form_made_is_restarted_too(launcher: Launcher) -> None:
    image = launcher.versions.add("hep/gan")
    container = {"name": "jwa", "image": "kubeflownotebookswg/jupyter-scipy:v1.9.2", "env": []}
    spec = {"template": {"spec": {"containers": [container]}}}
    launcher.admin.call(
        "POST",
        launcher.path("notebooks"),
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "Notebook",
            "metadata": {"name": "jwa"},
            "spec": spec,
        },
    )
    assert launcher.restart("hep/gan:1", name="jwa")["state"] == "done"
    found = launcher.notebook("jwa")["spec"]["template"]["spec"]["containers"]
    assert found == [container | {"image": image}]


def test_a_workspace_takes_the_kinds_option_with_the_image(launcher: Launcher) -> None:
    image = launcher.versions.add("hep/gan")
    name = f"lab-{next(NUMBERS)}"
    port = [{"id": "jupyterlab", "port": 8888}]
    option = {"id": "hep.gan.1", "spec": {"image": image, "ports": port}}
    options = {
        "imageConfig": {"spawner": {"default": "hep.gan.1"}, "values": [option]},
        "podConfig": {"spawner": {"default": "small"}, "values": [{"id": "small"}]},
    }
    launcher.admin.call(
        "POST",
        "/apis/kubeflow.org/v1beta1/workspacekinds",
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "WorkspaceKind",
            "metadata": {"name": name},
            "spec": {"podTemplate": {"options": options}},
        },
    )
    reader = [{"apiGroups": ["kubeflow.org"], "resources": ["workspacekinds"], "verbs": ["get"]}]
    launcher.rig.allow(ANA, rights=reader)
    launcher.kit.settings = launcher.kit.settings.model_copy(update={"workspace_kind": name})
    made = launcher.start()
    assert made["kind"] == "Workspace"
    assert made["path"] == f"/workspace/connect/{launcher.namespace}/gan/jupyterlab/"
    spec = launcher.admin.call("GET", f"{launcher.path('workspaces', 'v1beta1')}/gan")["spec"]
    assert spec["kind"] == name
    assert spec["podTemplate"]["options"] == {"imageConfig": "hep.gan.1", "podConfig": "small"}
    assert spec["podTemplate"]["volumes"] == {"home": "gan-home"}
    assert [one["metadata"]["name"] for one in launcher.claims()] == ["gan-home"]
    for wrong, sentence in (
        ({"cpu": "2"}, "name its pod configuration"),
        ({"pod_config": "big"}, "has no pod configuration big"),
    ):
        with pytest.raises(RefusedError, match=sentence):
            launcher.start(name="other", **wrong)
    launcher.versions.add("hep/gan")
    with pytest.raises(RefusedError, match="offer the environment"):
        launcher.start("hep/gan:2", name="other")
    assert launcher.start("hep/gan:2", name="other", form="Notebook")["kind"] == "Notebook"


def test_what_runs_an_environment_is_what_whoever_asks_may_see(launcher: Launcher) -> None:
    launcher.versions.add("hep/gan")
    launcher.start()
    launcher.versions.add("hep/gan")
    launcher.start("hep/gan:2", name="newer")
    elsewhere = launcher.rig.namespace()
    asked = using.Look(version="hep/gan", namespaces=[launcher.namespace, elsewhere], acts_as=ANA)
    found = using.look(launcher.kit, asked)
    assert [(one["kind"], one["name"], one["versions"]) for one in found["items"]] == [
        ("Notebook", "gan", [1]),
        ("Notebook", "newer", [2]),
    ]
    assert any(elsewhere in sentence and "Notebook" in sentence for sentence in found["unseen"])
    assert json.dumps(found)
