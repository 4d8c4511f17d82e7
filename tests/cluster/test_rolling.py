"""A worker's part in rollouts: whom it acts as, what it tries again, what a dead one leaves."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from charts.conftest import CHART, example
from cluster.kit import RIGHTS
from cluster.live import NEW, NEWER, OLD, Object, apply, as_seen, deployment, images, notebook
from rig.cluster import Cluster as Rig
from rig.helm import Helm
from sqlalchemy import update

from catalog import builds, mirrors, rollouts, runs, targets
from catalog.engine import migrate, reading, writing
from catalog.rollout_models import RolloutRun, RunState
from catalog.states import BuildState
from catalog.types import utcnow
from catalog.versions import ImageFacts, VersionFacts
from kitbag.live.connect import connect
from kitbag.live.errors import AwayError
from worker import rolling
from worker.services import Services
from worker.settings import ActsAs, WorkerSettings

ROOT = Path(__file__).parents[2]
LONG = timedelta(hours=1)


class Site:
    """A catalog and a worker's services, whose cluster may be another from run to run."""

    def __init__(self, folder: Path, namespace: str, **settings: Any) -> None:
        self.namespace = namespace
        self.environment = f"{namespace}/3dgan"
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        self.kit = Services(WorkerSettings(database_url=url, data=folder, **settings))
        self.engine = self.kit.engine
        self._keys = itertools.count()

    def use(self, **settings: Any) -> None:
        self.kit.settings = self.kit.settings.model_copy(update=settings)

    def version(self, image: str, cuda: str | None = None) -> None:
        """One more version of the environment, perhaps with an image for CUDA, as a build does."""
        key = f"key-{next(self._keys)}"
        with writing(self.engine) as session:
            build, _ = builds.request_build(
                session, environment=self.environment, request={}, request_key=key
            )
            claimed = runs.claim(session, build.id, "w")
            assert claimed is not None
            for state in (BuildState.BUILDING, BuildState.PUSHING):
                runs.transition(session, build.id, state, attempt=claimed.attempt)
            facts = VersionFacts(
                image=image,
                digest=image.partition("@")[2],
                content_key=key,
                python="3.11.2",
                accelerator="cpu",
                base_name="auto",
                base_digest="sha256:" + "b" * 64,
                size_bytes=1,
                platform="linux/amd64",
            )
            images = [
                ImageFacts(
                    image=each,
                    digest=each.partition("@")[2],
                    accelerator=accelerator,
                    platform="linux/amd64",
                    base_name="auto",
                    base_digest="sha256:" + "b" * 64,
                    size_bytes=1,
                )
                for accelerator, each in (("cpu", image), ("cuda", cuda))
                if each is not None
            ]
            facts = replace(facts, images=images)
            runs.finish_ready(session, build.id, facts, attempt=claimed.attempt)

    def register(self, **order: Any) -> int:
        with writing(self.engine) as session:
            given = {"objects": [{"kind": "Deployment", "name": "gan"}]} | order
            made = rollouts.add(session, self.environment, rollouts.Order(self.namespace, **given))
            return made.id

    def work(self) -> list[RunState]:
        """Do whatever is due, as a sweep has it done; the states of all runs, by version."""
        for run in rolling.due(self.kit):
            rolling.roll(self.kit, run)
        return [run.state for run in self.runs()]

    def runs(self) -> list[RolloutRun]:
        with reading(self.engine) as session:
            return sorted(session.query(RolloutRun).all(), key=lambda run: run.number)

    def results(self, run: RolloutRun) -> dict[str, str]:
        with reading(self.engine) as session:
            return {one.name: one.state for one in rollouts.results(session, run.id)}

    def hurry(self) -> None:
        """Let what waits be due now."""
        with writing(self.engine) as session:
            session.execute(update(RolloutRun).values(due_at=utcnow()))


@pytest.fixture
def worker_config(cluster: Rig) -> Path:
    """The kubeconfig of a worker that may do nothing but act as accounts named kitbag."""
    worker = cluster.user("rolling-worker")
    impersonate = {
        "apiGroups": [""],
        "resources": ["serviceaccounts"],
        "resourceNames": ["kitbag"],
        "verbs": ["impersonate"],
    }
    cluster.allow(worker, rights=[impersonate])
    return worker.kubeconfig


@pytest.fixture
def site(cluster: Rig, worker_config: Path, tmp_path: Path) -> Iterator[Site]:
    """A namespace of the cluster that lets Kitbag change its objects, with one Deployment."""
    namespace = cluster.namespace()
    cluster.service_account(namespace, "kitbag")
    cluster.allow(f"system:serviceaccount:{namespace}:kitbag", namespace, RIGHTS)
    made = Site(tmp_path, namespace, cluster=str(worker_config), rollout_retry_s=3600)
    made.version(OLD)
    apply(cluster.admin, deployment(namespace))
    yield made
    made.kit.close()


def runs_now(cluster: Rig, item: Object) -> set[str]:
    return {image for image in images(as_seen(cluster.admin.http, item)) if "3dgan" in image}


def test_without_a_cluster_nothing_is_due(site: Site) -> None:
    site.register()
    site.use(cluster="")
    assert rolling.due(site.kit) == []


def test_an_api_server_that_is_away_loses_nothing(site: Site, cluster: Rig) -> None:
    site.register()
    site.work()
    site.version(NEW)
    right = site.kit.settings.cluster
    away = Path(right).with_name("away")
    config = json.loads(Path(right).read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    away.write_text(json.dumps(config))
    site.use(cluster=str(away))
    assert site.work() == [RunState.DONE, RunState.PENDING]
    run = site.runs()[1]
    assert run.tries == 1
    assert "doesn't answer" in run.problem
    assert run.due_at > utcnow() + timedelta(minutes=9)
    site.use(cluster=right)
    site.hurry()
    assert site.work() == [RunState.DONE, RunState.DONE]
    assert runs_now(cluster, deployment(site.namespace)) == {NEW}


def test_a_cluster_that_is_a_target_runs_its_own_registrys_copy_once_it_is_there(
    site: Site, cluster: Rig
) -> None:
    site.use(cluster_target="gcp")
    with writing(site.engine) as session:
        targets.add(session, site.namespace, "gcp", "registry://near.example/kit")
    site.version(NEW)
    site.register()
    assert site.work() == [RunState.PENDING]
    assert "is not in near.example/kit" in site.runs()[0].problem
    assert runs_now(cluster, deployment(site.namespace)) == {OLD}
    with writing(site.engine) as session:
        (copy_id,) = mirrors.due(session)
        copy = mirrors.claim(session, copy_id, "w", LONG)
        assert copy is not None
        mirrors.finish(session, copy_id, copy.attempt)
    site.hurry()
    assert site.work() == [RunState.DONE]
    near = f"near.example/kit/{site.environment}@{NEW.partition('@')[2]}"
    assert runs_now(cluster, deployment(site.namespace)) == {near}


def test_what_a_dead_worker_left_is_taken_up_at_once(site: Site, cluster: Rig) -> None:
    site.register()
    site.work()
    site.version(NEW)
    told = subprocess.run(
        [sys.executable, "-c", "from worker import identity; print(identity.me())"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.strip()
    with writing(site.engine) as session:
        (run_id,) = rollouts.due(session, LONG)
        assert rollouts.claim(session, run_id, told, LONG) is not None
    assert site.work() == [RunState.DONE, RunState.DONE]
    assert runs_now(cluster, deployment(site.namespace)) == {NEW}


def test_a_living_workers_run_is_left_to_it(site: Site) -> None:
    site.register()
    with writing(site.engine) as session:
        (run_id,) = rollouts.due(session, LONG)
        assert rollouts.claim(session, run_id, "elsewhere:1 2@another-boot", LONG) is not None
    rolling.roll(site.kit, run_id)
    assert site.work() == [RunState.RUNNING]


def test_an_older_version_gives_way_to_a_newer_one_and_never_comes_after_it(
    site: Site, cluster: Rig
) -> None:
    site.register()
    site.work()
    site.version(NEW)
    with writing(site.engine) as session:
        (old,) = rollouts.due(session, LONG)
        assert rollouts.claim(session, old, "elsewhere:1 2@another-boot", LONG) is not None
    site.version(NEWER)
    assert site.work() == [RunState.DONE, RunState.RUNNING, RunState.PENDING]
    with writing(site.engine) as session:  # its worker was silent for too long
        late = utcnow() - 2 * rolling.SILENT
        session.execute(update(RolloutRun).where(RolloutRun.id == old).values(heartbeat_at=late))
    site.work()
    site.work()
    assert [run.state for run in site.runs()] == [
        RunState.DONE,
        RunState.SUPERSEDED,
        RunState.DONE,
    ]
    assert runs_now(cluster, deployment(site.namespace)) == {NEWER}


def test_each_object_gets_the_image_for_the_accelerator_that_it_runs(
    site: Site, cluster: Rig
) -> None:
    cuda = [image.replace("3dgan@sha256:", "3dgan@sha256:c")[:-1] for image in (NEW, NEWER)]
    site.version(NEW, cuda[0])
    apply(cluster.admin, deployment(site.namespace, cuda[0], "gpu"))
    names = ("gan", "gpu")
    site.register(objects=[{"kind": "Deployment", "name": name} for name in names])
    site.version(NEWER, cuda[1])
    site.work()
    found = [runs_now(cluster, deployment(site.namespace, name=name)) for name in names]
    assert found == [{NEWER}, {cuda[1]}]
    site.version(OLD)
    site.work()
    last = site.results(site.runs()[-1])
    assert last == {"gan": "done", "gpu": "cant"}
    assert runs_now(cluster, deployment(site.namespace, name="gpu")) == {cuda[1]}


def test_labels_choose_objects_of_every_kind_that_the_account_may_list(
    site: Site, cluster: Rig
) -> None:
    server = notebook(site.namespace, stopped=True)
    server["metadata"]["labels"] = {"app": "gan"}
    apply(cluster.admin, server)
    apply(cluster.admin, deployment(site.namespace, name="other"))
    site.register(objects=[], selector="app in (gan)")
    site.version(NEW)
    site.work()
    (run,) = [one for one in site.runs() if one.number == 2]
    with reading(site.engine) as session:
        kinds = {one.kind: one.state for one in rollouts.results(session, run.id)}
    assert kinds == {"Deployment": "done", "Notebook": "done"}
    assert runs_now(cluster, deployment(site.namespace, name="other")) == {OLD}


def test_an_account_that_may_list_nothing_is_told_so(
    cluster: Rig, worker_config: Path, tmp_path: Path
) -> None:
    namespace = cluster.namespace()
    site = Site(tmp_path, namespace, cluster=str(worker_config))
    site.version(OLD)
    site.register(objects=[], selector="app=gan")
    assert site.work() == [RunState.DONE]
    (run,) = site.runs()
    assert f"no object of {namespace} can be listed" in run.problem
    assert f"system:serviceaccount:{namespace}:kitbag" in run.problem
    site.kit.close()


def test_a_user_may_be_acted_as_who_then_has_that_users_rights(
    site: Site, cluster: Rig, tmp_path: Path
) -> None:
    site.use(cluster_acts_as=ActsAs.USER, cluster=str(cluster.admin.kubeconfig))
    site.register(acts_as="bea@example.org")
    site.version(NEW)
    site.work()
    assert set(site.results(site.runs()[1]).values()) == {"denied"}
    cluster.allow("bea@example.org", site.namespace, RIGHTS)
    site.version(NEWER)
    site.work()
    assert set(site.results(site.runs()[2]).values()) == {"done"}


def test_the_charts_one_rule_is_enough_and_ends_at_its_namespaces(
    site: Site, cluster: Rig, helm: Helm
) -> None:
    values = example("smallest") | {"rollouts": {"enabled": True, "namespaces": [site.namespace]}}
    for each in helm.objects(CHART, "kb", values):
        if each["kind"] in ("Role", "RoleBinding"):
            cluster.admin.apply(each)
            account = [subject["name"] for subject in each.get("subjects", ())]
    worker = cluster.service_account("default", account[0])
    site.use(cluster=str(worker.kubeconfig))
    site.register()
    site.version(NEW)
    assert site.work() == [RunState.SUPERSEDED, RunState.DONE]
    assert set(site.results(site.runs()[1]).values()) == {"done"}
    site.use(cluster_account="default")
    site.version(NEWER)
    site.work()
    assert "the cluster doesn't allow it" in site.runs()[2].problem
    assert runs_now(cluster, deployment(site.namespace)) == {NEW}


def test_a_rollout_without_a_user_is_never_the_workers_own(site: Site, cluster: Rig) -> None:
    site.register()
    site.use(cluster_acts_as=ActsAs.USER, cluster=str(cluster.admin.kubeconfig))
    site.version(NEW)
    site.work()
    run = site.runs()[1]
    assert (run.state, site.results(run)) == (RunState.DONE, {})
    assert "add it again as the user" in run.problem
    assert runs_now(cluster, deployment(site.namespace)) == {OLD}


def version_of(config: Path) -> str:
    with connect(str(config)) as http:
        answer = http.get("/version")
    assert answer.status_code == 200
    found: str = answer.json()["gitVersion"]
    return found


def changed(config: Path, folder: Path, **user: Any) -> Path:
    """A kubeconfig like this one whose files are in it, or with another user."""
    read = json.loads(config.read_text())
    where = read["clusters"][0]["cluster"]
    authority = Path(where.pop("certificate-authority")).read_bytes()
    where["certificate-authority-data"] = base64.b64encode(authority).decode()
    there = read["users"][0]["user"]
    for name in ("client-certificate", "client-key"):
        if name in there:
            data = Path(there.pop(name)).read_bytes()
            there[f"{name}-data"] = base64.b64encode(data).decode()
    read["users"][0]["user"] = user or there
    made = folder / "config"
    made.write_text(json.dumps(read))
    return made


def test_a_kubeconfig_may_hold_certificates_or_a_token_or_name_their_files(
    cluster: Rig, tmp_path: Path
) -> None:
    assert version_of(cluster.admin.kubeconfig).startswith("v1.")
    assert version_of(changed(cluster.admin.kubeconfig, tmp_path)).startswith("v1.")
    namespace = cluster.namespace()
    account = cluster.service_account(namespace, "default")
    assert version_of(account.kubeconfig).startswith("v1.")
    token = json.loads(account.kubeconfig.read_text())["users"][0]["user"]["token"]
    (tmp_path / "token").write_text(token + "\n")
    by_file = changed(account.kubeconfig, tmp_path, tokenFile="token")
    assert version_of(by_file).startswith("v1.")


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"exec": {"command": "/bin/true"}}, "logs in with a plugin"),
        ({"auth-provider": {"name": "gcp"}}, "logs in with a plugin"),
        ({"client-certificate": "gone.pem", "client-key": "gone.key"}, "FileNotFoundError"),
    ],
)
def test_a_kubeconfig_that_a_worker_can_not_use_is_named(
    cluster: Rig, tmp_path: Path, user: dict[str, Any], said: str
) -> None:
    config = changed(cluster.admin.kubeconfig, tmp_path, **user)
    with pytest.raises(AwayError) as caught:
        connect(str(config))
    assert said in str(caught.value)
    assert f"KITBAG_CLUSTER={config}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a: {", "{current-context: x, contexts: []}"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(AwayError, match="leads to no cluster"):
        connect(str(config))


def test_outside_of_a_cluster_in_cluster_is_said_to_lead_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(AwayError, match="KITBAG_CLUSTER=in-cluster leads to no cluster"):
        connect("in-cluster")


def test_in_a_pod_the_workers_own_account_is_used(
    cluster: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = cluster.service_account(cluster.namespace(), "default")
    token = json.loads(account.kubeconfig.read_text())["users"][0]["user"]["token"]
    (tmp_path / "token").write_text(token)
    (tmp_path / "ca.crt").write_bytes(cluster.authority.read_bytes())
    host, _, port = cluster.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr("kitbag.live.connect._ACCOUNT", tmp_path)
    assert version_of(Path("in-cluster")).startswith("v1.")
