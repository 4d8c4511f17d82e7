"""The story: a notebook is launched, and what is installed in it reaches everything else."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster.kit import RIGHTS, Kit, make_base
from e2e.servers import NO_REGISTRY
from rig.cluster import Cluster
from rig.docker import DockerEngine
from rig.wheels import WheelFactory, wheel_factory

from catalog import builds
from catalog.engine import make_engine, reading

pytestmark = [pytest.mark.slow, pytest.mark.rig]

CLIENT = Path(__file__).parents[2] / "client"
SITE = sysconfig.get_paths()["purelib"]
TFJOB = """\
apiVersion: kubeflow.org/v1
kind: TFJob
metadata: {name: train}
spec:
  tfReplicaSpecs:
    Worker:
      template:
        spec:
          containers:
          - name: tensorflow
            image: old   # pinned by kitbag
"""
PIPELINE = """\
deploymentSpec:
  executors:
    exec-train:
      container:
        image: old
pipelineInfo: {name: p}
schemaVersion: 2.1.0
"""
TOKEN = "the-operators-own-that-no-notebook-has"
REVIEWS = {
    "apiGroups": ["authentication.k8s.io"],
    "resources": ["tokenreviews"],
    "verbs": ["create"],
}
VOLUMES = {
    "apiGroups": [""],
    "resources": ["persistentvolumeclaims"],
    "verbs": ["get", "create"],
}


class Story:
    """A server whose workers act in one namespace, and the containers that a kubelet would run."""

    def __init__(
        self, cluster: Cluster, namespace: str, server: Kit, index: WheelFactory, data: Path
    ) -> None:
        self.namespace, self.server, self.index, self.data = namespace, server, index, data
        self.admin = cluster.admin

    def pod(self) -> dict[str, Any]:
        """What the Notebook says that its pod is."""
        path = f"/apis/kubeflow.org/v1/namespaces/{self.namespace}/notebooks/nb"
        found: dict[str, Any] = self.admin.call("GET", path)["spec"]["template"]["spec"]
        return found

    def container(self) -> dict[str, Any]:
        """The one of the Notebook."""
        found: dict[str, Any] = self.pod()["containers"][0]
        return found

    def token(self) -> str:
        """A real token of the pod's account, for whom the pod's volume says, as kubelets ask it."""
        pod = self.pod()
        (volume,) = (one["projected"] for one in pod["volumes"] if "projected" in one)
        asked = volume["sources"][0]["serviceAccountToken"]
        account = f"serviceaccounts/{pod['serviceAccountName']}"
        spec = {
            "audiences": [asked["audience"]],
            "expirationSeconds": asked["expirationSeconds"],
        }
        made = self.admin.call(
            "POST",
            f"/api/v1/namespaces/{self.namespace}/{account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        return str(made["status"]["token"])

    def made_by(self, build_id: str) -> str:
        """Who asked for a build."""
        engine = make_engine(f"sqlite:///{self.server.data}/catalog.db")
        with reading(engine) as session:
            return builds.get(session, build_id).created_by

    def docker(self, engine: DockerEngine, *arguments: str, **more: Any) -> str:
        """An engine's command with the log-in to the server's images."""
        env = {"DOCKER_CONFIG": str(self.data / "docker")}
        return engine.docker(*arguments, env=env, **more).stdout.strip()

    @contextmanager
    def running(self, docker: DockerEngine) -> Iterator[Running]:
        """The Notebook's container as it is now; NB_PREFIX is the notebook controller's."""
        container = self.container()
        told = {one["name"]: one["value"] for one in container["env"]}
        told |= {"NB_PREFIX": f"/notebook/{self.namespace}/nb", "PIP_NO_INPUT": "1"}
        told |= {"PIP_INDEX_URL": self.index.index_url, "KITBAG_URL": self.server.url}
        self.docker(docker, "pull", "--quiet", container["image"])
        made = self.docker(
            docker,
            *("run", "--detach", "--network=host"),
            *(f"--env={name}={value}" for name, value in told.items()),
            *(f"--volume={CLIENT}:/platform/client:ro", f"--volume={SITE}:/platform/site:ro"),
            "--env=PYTHONPATH=/platform/client:/platform/site",
            *(container["image"], "sleep", "600"),
        )
        (place,) = (
            one["mountPath"] for one in container["volumeMounts"] if one["name"] == "kitbag-token"
        )
        (self.data / "token").write_text(self.token())
        try:
            docker.docker("exec", "--user=0", made, "mkdir", "-p", place)
            docker.docker("cp", str(self.data / "token"), f"{made}:{place}/token")
            yield Running(docker, made)
        finally:
            docker.docker("rm", "--force", made)


class Running:
    """A container in which a person works."""

    def __init__(self, docker: DockerEngine, name: str) -> None:
        self._docker, self._name = docker, name

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._docker.docker("exec", self._name, *command, check=check)


@pytest.fixture(scope="module")
def story(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    make_base(tmp_path_factory.mktemp("base"))
    namespace = cluster.namespace()
    cluster.allow(cluster.service_account(namespace, "kitbag"), namespace, [*RIGHTS, VOLUMES])
    cluster.service_account(namespace, "default-editor")
    worker = cluster.user(f"kitbag-story-{namespace}")
    acting = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}
    cluster.allow(worker, rights=[acting | {"resourceNames": ["kitbag"]}, REVIEWS])
    folder = tmp_path_factory.mktemp("story")
    with wheel_factory(tmp_path_factory.mktemp("wheels")) as index:
        index.wheel("pip", "99.0")
        index.wheel("one", "1.0")
        text = "def naturalsize(n): return f'{n} Bytes'\n"
        index.wheel("humanize", "4.9.0", {"humanize.py": text})
        settings = {
            "KITBAG_INDEX_URL": index.index_url,
            "KITBAG_BASE_IMAGE": NO_REGISTRY,
            "KITBAG_CLUSTER": str(worker.kubeconfig),
            "KITBAG_ACCOUNTS": str(worker.kubeconfig),
            "KITBAG_NOTEBOOK_ACCOUNT": "default-editor",
            "KITBAG_API_TOKEN": TOKEN,
            "KITBAG_TOKEN": TOKEN,  # the operator's, for the commands of this test
            "KITBAG_SWEEP_S": "1",
        }
        server = Kit(folder / "data", settings, cluster.admin.kubeconfig)
        server.http.headers["Authorization"] = f"Bearer {TOKEN}"
        server.up.start()
        try:
            yield Story(cluster, namespace, server, index, folder)
        finally:
            server.up.stop(timeout_s=60)
            server.http.close()


def test_a_package_installed_in_a_notebook_reaches_the_notebook_the_pipeline_and_the_job(
    story: Story, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    environment = f"{story.namespace}/nb"
    first = story.server.build(environment, "one==1.0")
    launched = story.server.json("launch", environment, "--home", "1Gi")
    assert launched["image"] == first["image"] == story.container()["image"]
    login = ("login", "--username=operator", f"--password={TOKEN}", story.server.host)
    story.docker(docker_engine, *login)

    with story.running(docker_engine) as notebook:
        notebook.run("python", "-m", "pip", "install", "--quiet", "humanize")
        begun = time.monotonic()
        saved = notebook.run("python", "-m", "kitbag", "capture", "--yes", "--json")
        print(f"saved in {time.monotonic() - begun:.2f} s")
        image = json.loads(saved.stdout)["build"]["image"]
        account = f"system:serviceaccount:{story.namespace}:default-editor"
        assert story.made_by(json.loads(saved.stdout)["build"]["id"]) == account
        assert image != first["image"]
        assert story.container()["image"] == first["image"]  # nothing ends that nobody asked for
        restarted = notebook.run("python", "-m", "kitbag", "capture", "--yes", "--restart")
        assert restarted.stdout.strip() == image  # nothing changed since: the same version
        assert f"Notebook {environment}: done, " in restarted.stderr
        again = notebook.run("python", "-m", "kitbag", "restart", f"{environment}:2")
        assert f"Notebook {environment}: same, " in again.stderr

    container = story.container()
    assert container["image"] == image
    told = {one["name"]: one["value"] for one in container["env"]}
    assert told["KALE_DEFAULT_BASE_IMAGE"] == image
    assert told["KITBAG_ENVIRONMENT"] == f"{environment}:2"
    with story.running(docker_engine) as new:
        said = new.run("python", "-c", "import humanize; print(humanize.naturalsize(3))")
        assert said.stdout == "3 Bytes\n"
        differs = new.run("python", "-m", "kitbag", "capture", "--check")
        assert differs.stdout == ""

    (tmp_path / "train.yaml").write_text(TFJOB)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    pinned = story.server.kitbag("pin", ".", "--env", f"{environment}:2", "-i", cwd=tmp_path)
    assert pinned.returncode == 0, pinned.stderr
    assert (tmp_path / "train.yaml").read_text() == TFJOB.replace("old", image)
    spec = yaml.safe_load((tmp_path / "pipeline.yaml").read_text())
    assert spec["deploymentSpec"]["executors"]["exec-train"]["container"]["image"] == image

    taken = story.server.kitbag("launch", environment)
    assert taken.returncode == 2 and taken.stderr.count("\n") == 1
    assert "choose another name" in taken.stderr
