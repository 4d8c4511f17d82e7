"""Environments that are offered, as image options of a WorkspaceKind of a real API server."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Versions
from rig.cluster import Access
from rig.cluster import Cluster as Rig

from catalog import environments
from catalog.engine import migrate, writing
from kitbag.live.cluster import Cluster
from worker import offering
from worker.services import Services
from worker.settings import WorkerSettings

PATH = "/apis/kubeflow.org/v1beta1/workspacekinds"
RIGHTS = [
    {
        "apiGroups": ["kubeflow.org"],
        "resources": ["workspacekinds"],
        "verbs": ["get", "patch"],
    }
]
PORTS = [{"id": "jupyterlab", "port": 8888, "displayName": "Lab"}]


def option(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "spawner": {"displayName": name, "hidden": False},
        "spec": {"image": f"ghcr.io/x/{name}", "imagePullPolicy": "Always", "ports": PORTS},
        **more,
    }


THEIRS = [option("scipy:1", redirect={"to": "scipy:2"}), option("scipy:2")]
NUMBERS = itertools.count(1)


class Kind:
    """A WorkspaceKind, and a worker whose service account may change it."""

    def __init__(self, cluster: Rig, folder: Path) -> None:
        self.admin, self.name = cluster.admin, f"jupyterlab-{next(NUMBERS)}"
        worker: Access = cluster.service_account(cluster.namespace(), "kitbag-worker")
        cluster.allow(worker, rights=RIGHTS)
        self.before: dict[str, Any] = {
            "spawner": {"displayName": "JupyterLab", "icon": {"url": "https://x.example/i.png"}},
            "podTemplate": {
                "extraEnv": [{"name": "NB_PREFIX", "value": '{{ httpPathPrefix "jupyterlab" }}'}],
                "options": {
                    "imageConfig": {
                        "spawner": {"default": "scipy:2"},
                        "values": copy.deepcopy(THEIRS),
                    },
                    "podConfig": {"spawner": {"default": "small"}, "values": [{"id": "small"}]},
                },
            },
        }
        self.admin.call(
            "POST",
            PATH,
            {
                "apiVersion": "kubeflow.org/v1beta1",
                "kind": "WorkspaceKind",
                "metadata": {"name": self.name},
                "spec": self.before,
            },
        )
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        settings: dict[str, Any] = {
            "cluster": str(worker.kubeconfig),
            "workspace_kind": self.name,
        }
        self.kit = Services(WorkerSettings(database_url=url, data=folder, **settings))
        self.versions = Versions(self.kit.engine)

    def offer(self, environment: str, offered: bool = True) -> None:
        with writing(self.kit.engine) as session:
            environments.offer(session, environment, offered)
        assert offering.offer(self.kit)

    def item(self) -> dict[str, Any]:
        return self.admin.call("GET", f"{PATH}/{self.name}")

    def config(self) -> dict[str, Any]:
        """The image options; all else is what it was."""
        spec = self.item()["spec"]
        config: dict[str, Any] = spec["podTemplate"]["options"].pop("imageConfig")
        rest = copy.deepcopy(self.before)
        del rest["podTemplate"]["options"]["imageConfig"]
        assert spec == rest
        return config

    def ours(self) -> dict[str, dict[str, Any]]:
        """Our options by id; those of the operator are what they were, before ours."""
        values = self.config()["values"]
        assert values[: len(THEIRS)] == THEIRS
        return {value["id"]: value for value in values[len(THEIRS) :]}

    def patch(self, config: dict[str, Any]) -> None:
        body = {"spec": {"podTemplate": {"options": {"imageConfig": config}}}}
        self.admin.kubectl(
            "patch", "workspacekind", self.name, "--type=merge", "-p", json.dumps(body)
        )


@pytest.fixture
def kind(cluster: Rig, tmp_path: Path) -> Kind:
    return Kind(cluster, tmp_path)


def test_a_new_version_is_a_new_option_and_the_old_one_leads_to_it(kind: Kind) -> None:
    first = kind.versions.add("hep/gan")
    kind.offer("hep/gan")
    made = kind.ours()
    assert list(made) == ["hep.gan.1"]
    assert made["hep.gan.1"] == {
        "id": "hep.gan.1",
        "spawner": {
            "displayName": "hep/gan:1",
            "description": "hep/gan:1, built by Kitbag",
            "labels": [{"key": "python_version", "value": "3.11.2"}],
        },
        "spec": {"image": first, "imagePullPolicy": "IfNotPresent", "ports": PORTS},
    }
    second = kind.versions.add("hep/gan")
    assert offering.offer(kind.kit)
    old, new = kind.ours().values()
    assert old.pop("redirect") == {
        "to": "hep.gan.2",
        "message": {"level": "Info", "text": "hep/gan has a version 2"},
    }
    assert old == made["hep.gan.1"]
    assert new["spec"]["image"] == second and "redirect" not in new
    assert kind.config()["spawner"] == {"default": "scipy:2"}


def test_what_is_no_longer_offered_is_hidden_and_comes_back(kind: Kind) -> None:
    kind.versions.add("hep/gan")
    kind.offer("hep/gan")
    kind.offer("hep/gan", offered=False)
    assert kind.ours()["hep.gan.1"]["spawner"]["hidden"] is True
    kind.offer("hep/gan")
    assert kind.ours()["hep.gan.1"]["spawner"]["hidden"] is False


def test_nothing_is_written_where_nothing_changed(kind: Kind) -> None:
    kind.versions.add("hep/gan")
    kind.offer("hep/gan")
    before = kind.item()
    assert offering.offer(kind.kit)
    assert kind.item() == before


def test_the_default_goes_along_where_the_operator_made_one_of_ours_the_default(kind: Kind) -> None:
    kind.versions.add("hep/gan")
    kind.offer("hep/gan")
    config = kind.config()
    config["spawner"]["default"] = "hep.gan.1"
    kind.patch(config)
    kind.versions.add("hep/gan")
    assert offering.offer(kind.kit)
    assert kind.config()["spawner"] == {"default": "hep.gan.2"}


def test_an_option_of_the_operator_with_the_image_is_enough_and_an_id_of_theirs_stays(
    kind: Kind,
) -> None:
    image = kind.versions.add("hep/gan")
    config = kind.config()
    spec = {"image": image, "ports": PORTS}
    config["values"].append(option("mine") | {"spec": spec})
    config["values"].append(option("hep.other.1"))
    kind.patch(config)
    kind.offer("hep/gan")
    assert kind.config() == config
    other = kind.versions.add("hep/other")
    kind.offer("hep/other")
    made = kind.config()["values"][-1]
    assert made["id"] == f"hep.other.1-{other.rpartition(':')[2][:10]}"
    assert made["spec"]["image"] == other


def test_somebody_elses_write_in_between_is_kept(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = kind.versions.add("hep/gan")
    merge, wrote = Cluster.merge, []

    def after_another(self: Cluster, ref: Any, fields: Any) -> Any:
        if not wrote:
            config = kind.config()
            config["spawner"]["default"] = "scipy:1"
            wrote.append(kind.patch(config))
        return merge(self, ref, fields)

    monkeypatch.setattr(Cluster, "merge", after_another)
    kind.offer("hep/gan")
    assert kind.config()["spawner"] == {"default": "scipy:1"}
    assert kind.ours()["hep.gan.1"]["spec"]["image"] == image


def test_a_kind_that_is_not_there_or_has_no_ports_is_told(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    kind.versions.add("hep/gan")
    with writing(kind.kit.engine) as session:
        environments.offer(session, "hep/gan", True)
    kind.patch({"values": [{"id": "a", "spec": {"image": "b"}}]})
    assert not offering.offer(kind.kit)
    assert "has no option with ports" in caplog.text
    kind.kit.settings = kind.kit.settings.model_copy(update={"workspace_kind": "none"})
    assert not offering.offer(kind.kit)
    assert "correct KITBAG_WORKSPACE_KIND" in caplog.text
