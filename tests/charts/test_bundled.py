"""What the chart brings itself: PostgreSQL, BuildKit, certificates, scaling, alerts, a mesh."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest
from charts.conftest import CHART, Render, example, merged, only
from rig.helm import Helm, Object

pytestmark = [pytest.mark.rig, pytest.mark.timeout(1200)]  # the first of them builds the engine


def pod(objects: list[Object], kind: str, ending: str) -> Object:
    found: Object = only(objects, kind, ending)["spec"]["template"]["spec"]
    return found


def variables(container: Object) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def certificate(encoded: str) -> bytes:
    """The bytes of a PEM certificate that a Secret holds."""
    return ssl.PEM_cert_to_DER_cert(base64.b64decode(encoded).decode())


def test_every_part_reaches_the_bundled_catalog_by_its_password(render: Render) -> None:
    objects = render(of="bundled")
    parts = (("Deployment", "-api"), ("Deployment", "-worker"), ("Deployment", "-engine"))
    for kind, ending in (*parts, ("Deployment", "-admission"), ("Job", "-migrate-first")):
        (container,) = pod(objects, kind, ending)["containers"]
        given = variables(container)
        url = "postgresql://kitbag:$(DATABASE_PASSWORD)@kb-kitbag-postgres:5432/kitbag"
        assert given["KITBAG_DATABASE_URL"] == url
        assert given["DATABASE_PASSWORD"]["secretKeyRef"] == {"name": "catalog", "key": "password"}
        # Kubernetes expands only what comes before.
        assert list(given).index("DATABASE_PASSWORD") < list(given).index("KITBAG_DATABASE_URL")


def test_the_first_migration_of_a_bundled_catalog_does_not_wait_for_what_comes_after_it(
    render: Render,
) -> None:
    assert "annotations" not in only(render(of="bundled"), "Job")["metadata"]
    hooked = only(render(of="smallest"), "Job")["metadata"]
    assert hooked["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert hooked["name"] == "kb-kitbag-migrate"


def test_only_kitbags_parts_reach_the_bundled_catalog(render: Render) -> None:
    rules = only(render(of="bundled"), "NetworkPolicy", "-postgres")["spec"]["ingress"]
    peers = [peer["podSelector"]["matchLabels"] for peer in rules[0]["from"]]
    parts = {peer["app.kubernetes.io/component"] for peer in peers}
    assert parts == {"api", "worker", "engine", "admission", "migrate"}


def test_the_bundled_buildkit_is_known_to_its_workers_and_to_nobody_else(render: Render) -> None:
    objects = render(of="bundled")
    worker = pod(objects, "Deployment", "-engine")
    (container,) = worker["containers"]
    given = variables(container)
    assert given["KITBAG_ENGINE_ADDRESS"] == "tcp://kb-kitbag-buildkit.kitbag-builds.svc:1234"
    assert given["KITBAG_ENGINE_CERTS"] == "/etc/kitbag/engine"
    assert given["PATH"].split(":")[-1] == "/opt/engine"
    assert worker["initContainers"][0]["command"][-1] == "/opt/engine/buildctl"
    (mount,) = [each for each in worker["volumes"] if each["name"] == "engine"]
    client = only(objects, "Secret", "-buildkit-client")
    assert mount["secret"]["secretName"] == client["metadata"]["name"]
    server = only(objects, "Secret", "-buildkit")
    assert server["metadata"]["namespace"] == "kitbag-builds"
    assert set(client["data"]) == set(server["data"]) == {"ca.pem", "cert.pem", "key.pem"}
    assert client["data"]["ca.pem"] == server["data"]["ca.pem"]
    assert client["data"]["key.pem"] != server["data"]["key.pem"]
    certificate(client["data"]["cert.pem"])
    policy = only(objects, "NetworkPolicy", "-buildkit")["spec"]
    (peer,) = policy["ingress"][0]["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "engine"


def test_steps_reach_neither_the_cluster_nor_a_clouds_metadata(render: Render) -> None:
    policy = only(render(of="bundled"), "NetworkPolicy", "-buildkit")["spec"]
    names, rest = policy["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    blocks = [peer["ipBlock"] for peer in rest["to"] if "ipBlock" in peer]
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(blocks[0]["except"])
    assert "fc00::/7" in blocks[1]["except"]  # also fd00:ec2::254, AWS' own
    named = [peer for peer in rest["to"] if "ipBlock" not in peer]
    assert named == example("bundled")["engine"]["bundled"]["egress"]


def test_the_daemon_that_builds_is_no_root_and_has_no_token(render: Render) -> None:
    daemon = pod(render(of="bundled"), "Deployment", "-buildkit")
    assert daemon["automountServiceAccountToken"] is False
    (container,) = daemon["containers"]
    assert container["securityContext"]["runAsNonRoot"] is True
    assert "privileged" not in container["securityContext"]


def test_a_self_signed_certificate_is_the_one_that_the_api_server_trusts(render: Render) -> None:
    objects = render(of="bundled")
    secret = only(objects, "Secret", "-admission-tls")["data"]
    (configuration,) = [each for each in objects if each["kind"] == "MutatingWebhookConfiguration"]
    for webhook in configuration["webhooks"]:
        assert webhook["clientConfig"]["caBundle"] == secret["ca.crt"]
    text = base64.b64decode(secret["tls.crt"]).decode()
    assert b"kb-kitbag-admission.default.svc" in ssl.PEM_cert_to_DER_cert(text)


def test_workers_scale_by_the_queue_that_they_take_from(render: Render) -> None:
    objects = render(of="bundled")
    for part, queue in (("-worker", "layered"), ("-engine", "engine")):
        scaled = only(objects, "ScaledObject", part)["spec"]
        workload = only(objects, "Deployment", part)
        assert scaled["scaleTargetRef"]["name"] == workload["metadata"]["name"]
        assert "replicas" not in workload["spec"]
        (trigger,) = scaled["triggers"]
        assert trigger["metadata"]["valueLocation"] == f'kitbag_queue_messages{{queue="{queue}"}}'
        assert trigger["metadata"]["url"] == "http://kb-kitbag-api.default.svc:80/metrics"
    assert "ScaledObject" not in {each["kind"] for each in render()}


def test_only_the_gateway_reaches_the_api_and_only_the_api_is_in_the_mesh(render: Render) -> None:
    objects = render(of="kubeflow")
    policy = only(objects, "AuthorizationPolicy")["spec"]
    api = only(objects, "Deployment", "-api")["spec"]["template"]
    assert policy["action"] == "ALLOW"
    assert policy["selector"]["matchLabels"].items() <= api["metadata"]["labels"].items()
    gateway, scrapers = policy["rules"]
    (source,) = gateway["from"]
    assert source["source"]["principals"] == [
        "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
    ]
    assert scrapers == {"to": [{"operation": {"methods": ["GET"], "paths": ["/metrics"]}}]}
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            labels = each["spec"]["template"]["metadata"]["labels"]
            part = labels["app.kubernetes.io/component"]
            assert labels["sidecar.istio.io/inject"] == ("true" if part == "api" else "false")


def test_a_gateway_shows_no_metrics_and_cuts_no_stream_off(render: Render) -> None:
    metrics, everything = only(render(of="kubeflow"), "VirtualService")["spec"]["http"]
    assert metrics["match"] == [{"uri": {"exact": "/metrics"}}]
    assert metrics["directResponse"] == {"status": 404}
    assert "timeout" not in everything
    destination = everything["route"][0]["destination"]
    assert destination["host"] == "kb-kitbag-api.default.svc.cluster.local"


@pytest.mark.parametrize(("version", "has"), [("smallest", False), ("bundled", True)])
def test_what_is_watched_is_there_only_where_it_is_asked_for(
    helm: Helm, version: str, has: bool
) -> None:
    kinds = {each["kind"] for each in helm.objects(CHART, "kb", example(version))}
    assert ({"ServiceMonitor", "PrometheusRule"} <= kinds) is has
    more = {"monitoring": {"dashboard": {"enabled": True}}}
    objects = helm.objects(CHART, "kb", merged(example(version), more))
    labels = only(objects, "ConfigMap", "-dashboard")["metadata"]["labels"]
    assert labels["grafana_dashboard"] == "1"
