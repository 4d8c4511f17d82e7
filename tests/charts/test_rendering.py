"""What the chart renders, what it refuses, and that Kubernetes has a field for every line of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from charts.conftest import CHART, EXAMPLES, Render, example, merged, only
from rig.helm import Helm, Object, RefusedError

from api.admission.candidate import RUN
from api.settings import ApiSettings
from kitbag import specs
from kitbag.config import CLUSTER_URL
from worker.settings import WorkerSettings

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1200)]  # the first of them builds the engine
# Rows about files; every ConfigMap of a cluster is too much to ask about for those of a launcher.
NOT_ASKED = {"List", "Kustomization", "Component", "ConfigMap"}
ADMISSION = {"enabled": True, "key": "k" * 16}
_OUR_OWN = {"HOME", "PATH", "DOCKER_CONFIG", "REDIS_PASSWORD", "DATABASE_PASSWORD"}
_OTHERS = {"postgres", "buildkit"}  # parts whose variables aren't Kitbag's


def workloads(objects: list[Object]) -> Iterator[Object]:
    """The pod template of each workload."""
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield each["spec"]["template"]


def refusal(helm: Helm, values: dict[str, Any]) -> str:
    with pytest.raises(RefusedError) as refused:
        helm.template(CHART, "kb", values)
    return str(refused.value)


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_passes_the_linter_and_is_what_kubernetes_types_say(
    helm: Helm, values: Path
) -> None:
    helm.lint(CHART, example(values.stem))
    assert helm.objects(CHART, "kb", example(values.stem))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("readOnlyRootFilesystem:", "readOnlyRootFileSystem:", "unknown field"),
        ("periodSeconds: 2", "periodSeconds: soon", "cannot unmarshal"),
        ("apiVersion: apps/v1", "apiVersion: apps/v2", "no kind"),
        ("maxUnavailable: 1", "maxUnavailable: 1\n  maxUnavailable: 2", "already set"),
    ],
)
def test_a_typo_in_a_template_does_not_pass(helm: Helm, right: str, wrong: str, said: str) -> None:
    text = helm.template(CHART, "kb", example("everything"))
    assert right in text
    with pytest.raises(RefusedError, match=said):
        helm.check(text.replace(right, wrong))


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        ({"image": {"repository": ""}}, "Set image.repository"),
        ({"database": {"existingSecret": {"name": ""}}}, "Set database.existingSecret.name"),
        ({"store": ""}, "Set store to"),
        ({"apiToken": {"existingSecret": {"name": ""}}}, "Set apiToken.existingSecret.name"),
        ({"database": {"bundled": {"enabled": True}}}, "Set database.bundled.enabled to false"),
        (
            {"database": {"existingSecret": {"name": ""}, "bundled": {"enabled": True}}},
            "Set database.bundled.passwordSecret.name",
        ),
        ({"engine": {"bundled": {"enabled": True}, "kind": "docker"}}, "Set engine.kind"),
        (
            {"engine": {"kind": "buildkit", "address": "tcp://b:1", "bundled": {"enabled": True}}},
            "Unset engine.address",
        ),
        ({"worker": {"autoscaling": {"minReplicas": 99}}}, "Set worker.autoscaling.maxReplicas"),
        ({"istio": {"enabled": True}}, "Set istio.host"),
        ({"redis": {"bundled": False}}, "Set redis.existingSecret.name"),
        ({"redis": {"url": "redis://queue"}}, "Set redis.bundled to false"),
        (
            {"redis": {"bundled": False, "url": "redis://q", "passwordSecret": {"name": "p"}}},
            "Unset redis.passwordSecret",
        ),
        ({"api": {"ingress": {"enabled": True}}}, "Set api.ingress.host"),
        ({"builds": {"heartbeatSeconds": 11}}, "Set builds.leaseSeconds"),
        ({"rollouts": {"enabled": True, "actsAs": "user"}}, "Set rollouts.userHeader"),
        (
            {"rollouts": {"enabled": True, "actsAs": "user", "userHeader": "x-user"}},
            "Set identity.trustedProxies",
        ),
        ({"launcher": {"spawner": "kubeflow/jwa"}}, "Set rollouts.enabled to true"),
        ({"api": {"autoscaling": {"minReplicas": 9}}}, "Set api.autoscaling.maxReplicas"),
        ({"engine": {"kind": "docker"}}, "Set engine.address"),
        (
            {"engine": {"kind": "buildkit", "address": "tcp://buildkitd:1234"}},
            "Set engine.image.repository",
        ),
        (
            {
                "engine": {
                    "kind": "buildkit",
                    "address": "tcp://buildkitd:1234",
                    "limits": {"memoryBytes": 1 << 30},
                }
            },
            "Unset engine.limits.cpus and engine.limits.memoryBytes",
        ),
        ({"admission": {"enabled": True}}, "Set admission.key"),
        ({"admission": {"enabled": True, "key": "k" * 16}}, "Set admission.certificate.secretName"),
        (
            {"admission": ADMISSION | {"certificate": {"secretName": "tls"}}},
            "Set admission.certificate.caBundle",
        ),
        (
            {
                "admission": ADMISSION
                | {"certificate": {"secretName": "tls", "certManager": {"issuer": "ca"}}}
            },
            "Unset one of admission.certificate",
        ),
    ],
)
def test_what_is_missing_is_refused_in_a_sentence_that_says_what_to_set(
    helm: Helm, without: dict[str, Any], sentence: str
) -> None:
    said = refusal(helm, merged(example("smallest"), without))
    assert sentence in said
    assert said.endswith(".")


@pytest.mark.parametrize(
    "wrong",
    [
        {"databse": {}},
        {"worker": {"replica": 3}},
        {"worker": {"concurrency": 65}},
        {"worker": {"cache": {"type": "hostPath"}}},
        {"store": "oci:/var/lib/kitbag/layout"},
        {"database": {"url": "sqlite:///catalog.db"}},
        {"redis": {"existingSecret": {"name": "a", "field": "b"}}},
        {"index": {"strategy": "best"}},
        {"engine": {"kind": "podman"}},
        {"engine": {"address": "unix:///var/run/docker.sock"}},
        {"engine": {"limits": {"processes": 1}}},
        {"engine": {"bundled": {"privileged": True}}},
        {"engine": {"autoscaling": {"minReplicas": 0}}},
        {"database": {"bundled": {"enabled": "often"}}},
        {"istio": {"principals": []}},
        {"monitoring": {"serviceMonitor": {"interval": "often"}}},
        {"rollouts": {"actsAs": "root"}},
        {"launcher": {"spawner": "jwa"}},
        {"launcher": {"url": "https://{namespace}.example.org/"}},
        {"builds": {"timeoutSeconds": "1h"}},
        {"api": {"resources": {"limits": {"gpu": 1}}}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_no_template_reads(helm: Helm, wrong: dict[str, Any]) -> None:
    assert "don't meet the specifications of the schema" in refusal(
        helm, merged(example("smallest"), wrong)
    )


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_pod_passes_the_restricted_standard(render: Render, values: Path) -> None:
    for template in workloads(render(of=values.stem)):
        pod = template["spec"]
        part = template["metadata"]["labels"]["app.kubernetes.io/component"]
        if part == "buildkit":
            continue  # the one that can't, which is why it may be in a namespace of its own
        variables = {each["name"] for each in pod["containers"][0].get("env", [])}
        rolls = {"KITBAG_CLUSTER", "KITBAG_STORE"} <= variables  # a worker with rollouts
        assert pod["automountServiceAccountToken"] is (rolls or "KITBAG_ACCOUNTS" in variables)
        assert pod["enableServiceLinks"] is False  # KITBAG_…_PORT=tcp://… would be a setting
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == (999 if part == "postgres" else 10001)
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_objects_refer_only_to_what_is_there(render: Render, values: Path) -> None:
    objects = render(of=values.stem)
    labels = [template["metadata"]["labels"] for template in workloads(objects)]
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            selector = spec["selector"]
        elif each["kind"] == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        elif each["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            selector = spec["selector"]["matchLabels"]
        else:
            continue
        chosen = [pod for pod in labels if selector.items() <= pod.items()]
        assert len(chosen) == 1, each["metadata"]["name"]
    for template in workloads(objects):
        pod = template["spec"]
        here = {volume["name"] for volume in pod.get("volumes", [])} | {"queue", "catalog"}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= here
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                asked = container.get(probe, {})
                where = asked.get("httpGet") or asked.get("tcpSocket")
                assert where is None or where["port"] in ports


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_every_variable_is_a_setting_of_the_server(render: Render, values: Path) -> None:
    fields = {*ApiSettings.model_fields, *WorkerSettings.model_fields}
    known = {f"KITBAG_{name.upper()}" for name in fields} | _OUR_OWN
    given = {each["name"] for each in example(values.stem).get("extraEnv", [])}
    for template in workloads(render(of=values.stem)):
        if template["metadata"]["labels"]["app.kubernetes.io/component"] in _OTHERS:
            continue
        for container in template["spec"]["containers"]:
            names = [variable["name"] for variable in container.get("env", [])]
            assert set(names) - given <= known
            assert len(set(names)) == len(names)


def test_webhooks_have_their_key_from_a_secret_and_none_unless_it_is_named(render: Render) -> None:
    def key(objects: list[Any]) -> list[Any]:
        container = only(objects, "Deployment", "-api")["spec"]["template"]["spec"]["containers"][0]
        return [each for each in container["env"] if each["name"] == "KITBAG_HOOK_KEY"]

    assert key(render()) == []
    [variable] = key(render(of="everything"))
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "hooks", "key": "key"}


def test_the_migration_needs_nothing_that_is_installed_after_it(render: Render) -> None:
    objects = render(of="everything")
    hooks = {
        each["metadata"]["name"]: each
        for each in objects
        if each["kind"] == "Secret" and "helm.sh/hook" in each["metadata"].get("annotations", {})
    }
    job = only(objects, "Job")
    pod = job["spec"]["template"]["spec"]
    assert "serviceAccountName" not in pod
    for variable in pod["containers"][0]["env"]:
        if "valueFrom" in variable:
            secret = hooks[variable["valueFrom"]["secretKeyRef"]["name"]]["metadata"]["annotations"]
            mine = job["metadata"]["annotations"]
            assert int(secret["helm.sh/hook-weight"]) < int(mine["helm.sh/hook-weight"])
            assert secret["helm.sh/hook"] == mine["helm.sh/hook"] == "pre-install,pre-upgrade"


def test_a_secret_is_nowhere_but_in_secrets(render: Render) -> None:
    secrets = ("postgresql://kitbag:s3cret@db/k", "tok3n", "redis://:qu3ue@r", "d0cker")
    objects = render(
        {
            "database": {"url": secrets[0], "existingSecret": {"name": ""}},
            "apiToken": {"value": secrets[1], "existingSecret": {"name": ""}},
            "redis": {"bundled": False, "url": secrets[2]},
            "dockerConfig": {"json": secrets[3]},
        }
    )
    in_secrets = str([each for each in objects if each["kind"] == "Secret"])
    elsewhere = str([each for each in objects if each["kind"] != "Secret"])
    assert all(secret in in_secrets and secret not in elsewhere for secret in secrets)


def test_no_secret_of_the_chart_is_made_where_others_are_named(render: Render) -> None:
    kinds = {each["kind"] for each in render(of="smallest")}
    assert "Secret" not in kinds
    assert "ConfigMap" not in kinds


def test_a_changed_secret_starts_new_pods(render: Render) -> None:
    def checksums(token: str) -> list[str]:
        objects = render({"apiToken": {"value": token, "existingSecret": {"name": ""}}})
        parts = [only(objects, "Deployment", part) for part in ("-api", "-worker")]
        return [
            part["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
            for part in parts
        ]

    assert checksums("one") == checksums("one")
    assert not set(checksums("one")) & set(checksums("two"))


def test_an_autoscaled_api_has_no_count_of_its_own(render: Render) -> None:
    objects = render({"api": {"autoscaling": {"enabled": True}}})
    api = only(objects, "Deployment", "-api")
    assert "replicas" not in api["spec"]
    scaler = only(objects, "HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == api["metadata"]["name"]


def test_only_api_and_workers_reach_the_queue_and_nobody_a_worker(render: Render) -> None:
    objects = render()
    queue = only(objects, "NetworkPolicy", "-redis")["spec"]["ingress"]
    parts = {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for peer in queue[0]["from"]
    }
    assert parts == {"api", "worker"}
    worker = only(objects, "NetworkPolicy", "-worker")["spec"]
    assert worker["policyTypes"] == ["Ingress"]
    assert "ingress" not in worker


def test_large_numbers_stay_whole_numbers(render: Render) -> None:
    worker = only(render({"worker": {"cache": {"maxBytes": 1 << 40}}}), "Deployment", "-worker")
    variables = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "KITBAG_CACHE_MAX_BYTES", "value": str(1 << 40)} in variables


def test_the_notes_say_how_to_reach_the_api(helm: Helm) -> None:
    notes = helm.template(CHART, "kb", example("smallest")).partition("# NOTES.txt")[2]
    assert "port-forward service/kb-kitbag-api 8484:80" in notes
    outside = helm.template(CHART, "kb", example("everything")).partition("# NOTES.txt")[2]
    assert "KITBAG_URL=https://kitbag.example.org" in outside


def test_lists_reach_the_worker_as_it_reads_them(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = only(render(of="everything"), "Deployment", "-worker")
    for variable in worker["spec"]["template"]["spec"]["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "postgresql://db/k"))
    settings = WorkerSettings()  # type: ignore[call-arg] # from the variables
    index = example("everything")["index"]
    assert settings.index_url == index["url"]
    assert settings.extra_index_urls == tuple(index["extraUrls"])
    assert settings.mirrors == tuple(index["mirrors"])
    assert settings.allowed_hosts == {"git.example.org", "10.1.0.0/16"}
    assert settings.git_protocols == {"https"}
    assert settings.secrets == Path("/etc/kitbag/secrets")
    assert settings.bytecode is False
    assert settings.layer_compression == "zstd"
    assert (settings.heartbeat_s, settings.lease_s) == (1.5, 30)


def test_the_target_of_the_cluster_reaches_whoever_names_images_there(render: Render) -> None:
    for part in ("-api", "-worker"):
        given = variables_of(only(render(of="everything"), "Deployment", part))
        assert given["KITBAG_CLUSTER_TARGET"] == "gcp"
        given = variables_of(only(render(), "Deployment", part))
        assert "KITBAG_CLUSTER_TARGET" not in given


def variables_of(worker: Object) -> dict[str, str]:
    """The variables of a worker that have a value of their own."""
    given = worker["spec"]["template"]["spec"]["containers"][0]["env"]
    return {each["name"]: each["value"] for each in given if "value" in each}


def test_an_engine_has_workers_of_its_own_that_take_nothing_else(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = only(render(of="everything"), "Deployment", "-engine")
    pod = worker["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["worker", "--concurrency", "2", "--queues", "engine"]
    assert container["image"] == "registry.example.org/kitbag/kitbag-builder:1.2"
    assert worker["spec"]["replicas"] == 3
    variables = variables_of(worker)
    assert "KITBAG_CLUSTER" not in variables
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KITBAG_DATABASE_URL", "postgresql://db/k")
    settings = WorkerSettings()  # type: ignore[call-arg] # from the variables
    assert (settings.engine, settings.engine_address) == ("buildkit", "tcp://buildkitd.builds:1234")
    assert (settings.engine_processes, settings.engine_disk_bytes) == (4096, 20 << 30)
    assert (settings.engine_cache, settings.engine_network) == ("cache", "builds")
    assert settings.binder_packages == ("jupyterlab", "ipywidgets")
    assert settings.dockerfile_registries == {"registry.example.org", "docker.io/library"}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["engine"] == str(settings.engine_certs)
    assert {"name": "engine", "secret": {"secretName": "buildkit-client"}} in pod["volumes"]


def test_other_workers_know_of_no_engine_but_plan_for_one(render: Render) -> None:
    worker = only(render(of="everything"), "Deployment", "-worker")
    variables = variables_of(worker)
    assert not [name for name in variables if name.startswith("KITBAG_ENGINE")]
    assert variables["KITBAG_BINDER_BASE"] == "registry.example.org/buildpack-deps:noble"
    volumes = worker["spec"]["template"]["spec"]["volumes"]
    assert "engine" not in {each["name"] for each in volumes}


def test_limits_of_an_engine_that_are_zero_are_none(render: Render) -> None:
    engine = {
        "kind": "docker",
        "address": "tcp://docker:2376",
        "image": {"repository": "registry.example.org/kitbag-docker"},
    }
    limits = {"cpus": 2.5, "memoryBytes": 8 << 30}
    held = variables_of(
        only(render({"engine": engine | {"limits": limits}}), "Deployment", "-engine")
    )
    assert held["KITBAG_ENGINE_CPUS"] == "2.5"
    assert held["KITBAG_ENGINE_MEMORY_BYTES"] == str(8 << 30)
    variables = variables_of(only(render({"engine": engine}), "Deployment", "-engine"))
    assert variables["KITBAG_ENGINE_PROCESSES"] == "8192"
    for name in ("CPUS", "MEMORY_BYTES", "DISK_BYTES", "CACHE", "CERTS"):
        assert f"KITBAG_ENGINE_{name}" not in variables


def test_without_an_engine_there_is_nothing_of_one(render: Render) -> None:
    assert not [each for each in render() if each["metadata"]["name"].endswith("-engine")]


def test_nobody_reaches_a_worker_with_an_engine_and_it_reaches_the_queue(render: Render) -> None:
    objects = render(of="everything")
    assert "ingress" not in only(objects, "NetworkPolicy", "-engine")["spec"]
    queue = only(objects, "NetworkPolicy", "-redis")["spec"]["ingress"]
    peers = [peer["podSelector"]["matchLabels"] for peer in queue[0]["from"]]
    assert "engine" in {peer["app.kubernetes.io/component"] for peer in peers}


def webhooks(objects: list[Object]) -> Iterator[Object]:
    for each in objects:
        if each["kind"].endswith("WebhookConfiguration"):
            yield from each["webhooks"]


def asked_about(webhook: Object) -> set[tuple[str, str]]:
    return {
        (group, resource)
        for rule in webhook["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_webhooks_are_asked_about_every_kind_of_the_table_of_specs(render: Render) -> None:
    asked = [
        asked_about(webhook)
        for webhook in webhooks(render(of="everything"))
        if "defaults" not in webhook["name"]
    ]
    wanted = {
        (group, f"{kind.lower()}s")
        for row in specs.builtin().rows
        for kind in row.kinds
        for group in row.groups
        if kind not in NOT_ASKED and group != "extensions"
    }
    assert len(asked) == 2
    for each in asked:
        assert wanted - each == set()


def test_each_default_is_of_the_namespaces_that_name_it_and_for_what_users_run(
    render: Render,
) -> None:
    found = [each for each in webhooks(render(of="everything")) if "defaults" in each["name"]]
    assert len({each["name"] for each in found}) == 2
    for webhook, name in zip(found, ("team-a.gan", "shared.base.2"), strict=True):
        path = webhook["clientConfig"]["service"]["path"]
        assert path.startswith(f"/v1/admission/default/{name}/")
        label = {"key": "kitbag.dev/environment", "operator": "In", "values": [name]}
        assert label in webhook["namespaceSelector"]["matchExpressions"]
        assert asked_about(webhook) == {(group, f"{kind.lower()}s") for group, kind in RUN}


def test_no_webhook_is_asked_about_the_system_or_kitbags_own_namespace(render: Render) -> None:
    for webhook in webhooks(render(of="everything")):
        named = webhook["namespaceSelector"]["matchExpressions"][0]
        assert named["key"] == "kubernetes.io/metadata.name" and named["operator"] == "NotIn"
        assert {"kube-system", "default", "istio-system"} <= set(named["values"])


def test_without_admission_there_is_no_webhook(render: Render) -> None:
    objects = render()
    assert list(webhooks(objects)) == []
    assert not [each for each in objects if each["metadata"]["name"].endswith("-admission")]


def test_cert_manager_makes_the_certificate_and_tells_who_signed_it(helm: Helm) -> None:
    issuer = {"admission": ADMISSION | {"certificate": {"certManager": {"issuer": "ca"}}}}
    text = helm.template(CHART, "kb", merged(example("smallest"), issuer))
    assert "kind: Certificate" in text
    assert "dnsNames: [kb-kitbag-admission.default.svc]" in text
    assert "cert-manager.io/inject-ca-from: default/kb-kitbag-admission" in text
    assert "caBundle:" not in text


def rules(objects: list[Object]) -> dict[tuple[str, str], Any]:
    return {
        (each["kind"], each["metadata"].get("namespace", "")): each["rules"]
        for each in objects
        if each["kind"] in ("Role", "ClusterRole")
    }


def test_a_notebook_finds_the_release_kitbag_of_the_namespace_kitbag_by_itself(
    helm: Helm,
) -> None:
    objects = helm.objects(CHART, "kitbag", merged(example("smallest"), {}))
    service = only(objects, "Service", "-api")
    port = urlsplit(CLUSTER_URL).port or 80
    assert CLUSTER_URL.startswith(f"http://{service['metadata']['name']}.kitbag.svc")
    assert port in {each["port"] for each in service["spec"]["ports"]}


def test_lists_of_images_are_kept_with_rights_on_them_alone(helm: Helm) -> None:
    launcher = {"url": "https://hub.example/?i={image}", "spawner": "kubeflow/jwa"}
    launcher["workspaceKind"] = "jupyterlab"
    more = {"rollouts": {"enabled": True}, "launcher": launcher}
    objects = helm.objects(CHART, "kb", merged(example("smallest"), more))
    (kinds,) = (
        each["rules"]
        for each in objects
        if each["kind"] == "ClusterRole" and each["metadata"]["name"].endswith("-launcher")
    )
    assert rules(objects)["Role", "kubeflow"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments"],
            "resourceNames": ["jwa"],
            "verbs": ["get"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]},
    ]
    assert kinds == [
        {
            "apiGroups": ["kubeflow.org"],
            "resources": ["workspacekinds"],
            "resourceNames": ["jupyterlab"],
            "verbs": ["get", "patch"],
        }
    ]
    for part, told in (("api", True), ("worker", False)):
        (pod,) = (
            each["spec"]
            for each in workloads(objects)
            if each["metadata"]["labels"]["app.kubernetes.io/component"] == part
        )
        variables = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
        assert variables["KITBAG_SPAWNER"] == "kubeflow/jwa"
        assert variables["KITBAG_WORKSPACE_KIND"] == "jupyterlab"
        assert ("KITBAG_LAUNCH_URL" in variables) is told
    assert variables["KITBAG_NOTEBOOK_URL"] == "http://kb-kitbag-api.default.svc"


def test_only_with_rollouts_may_workers_do_anything_in_the_cluster_and_then_act_as_others(
    helm: Helm,
) -> None:
    def given(**rollouts: Any) -> list[Object]:
        more = {"rollouts": rollouts, "identity": {"trustedProxies": ["10.0.0.0/8"]}}
        return helm.objects(CHART, "kb", merged(example("smallest"), more))

    assert rules(given()) == {}
    account = {"apiGroups": [""], "verbs": ["impersonate"], "resources": ["serviceaccounts"]}
    account |= {"resourceNames": ["kitbag"]}
    assert rules(given(enabled=True)) == {("ClusterRole", ""): [account]}
    assert rules(given(enabled=True, namespaces=["hep", "lab"])) == {
        ("Role", "hep"): [account],
        ("Role", "lab"): [account],
    }
    users = given(enabled=True, actsAs="user", users=["ana"], userHeader="x-user")
    (rule,) = rules(users)["ClusterRole", ""]
    assert (rule["resources"], rule["resourceNames"]) == (["users"], ["ana"])


def test_the_api_asks_about_tokens_and_profiles_with_an_account_that_may_nothing_else(
    helm: Helm,
) -> None:
    def given(**accounts: Any) -> list[Object]:
        more = {"identity": {"accounts": accounts}}
        return helm.objects(CHART, "kb", merged(example("smallest"), more))

    def pod(objects: list[Object]) -> Object:
        (found,) = [
            each["spec"]["template"]["spec"]
            for each in objects
            if each["kind"] == "Deployment" and each["metadata"]["name"].endswith("-api")
        ]
        return found

    assert rules(given()) == {}
    assert pod(given())["automountServiceAccountToken"] is False
    reviews = {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"]}
    reviews |= {"verbs": ["create"]}
    assert rules(given(enabled=True)) == {("ClusterRole", ""): [reviews]}
    whole = given(enabled=True, profiles=True)
    asked = rules(whole)["ClusterRole", ""]
    assert [rule["resources"] for rule in asked] == [
        ["tokenreviews"], ["profiles"], ["rolebindings"],
    ]  # fmt: skip
    assert all(rule["verbs"] in (["create"], ["list"]) for rule in asked)
    assert pod(whole)["automountServiceAccountToken"] is True
    assert pod(whole)["serviceAccountName"].endswith("-api")
