"""Kitbag's API behind TLS, registered at the real API server by the chart's own objects."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from charts.conftest import CHART, example, merged
from rig.certificate import Authority, Certificate
from rig.cluster import Cluster
from rig.helm import Helm, Object
from rig.process import Daemon, free_port, temp_dir
from sqlalchemy import Engine

from catalog import builds, runs
from catalog.engine import make_engine, migrate, writing
from catalog.states import BuildState
from catalog.versions import VersionFacts

KEY = "k3y0fthewebh00k0"
EXEMPT = "kitbag-system"
DEFAULT, NOTHING = "shared.base", "shared.nothing"


class Versions:
    """Versions of environments, made by the catalog's own steps as a worker's build makes them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made = 0

    def add(self, environment: str) -> str:
        """One more version; returns its image."""
        self._made += 1
        digest = f"sha256:{self._made:064x}"
        with writing(self._engine) as session:
            build, _ = builds.request_build(
                session, environment=environment, request={}, request_key=f"{self._made}"
            )
        with writing(self._engine) as session:
            assert runs.claim(session, build.id, "worker") is not None
        for state in (BuildState.BUILDING, BuildState.PUSHING):
            with writing(self._engine) as session:
                runs.transition(session, build.id, state, attempt=1)
        facts = VersionFacts(
            image=f"registry.example/{environment}@{digest}",
            digest=digest,
            content_key=str(self._made),
            python="3.11.2",
            accelerator="cpu",
            base_name="auto",
            base_digest=f"sha256:{0:064x}",
            size_bytes=1,
            platform="linux/amd64",
        )
        with writing(self._engine) as session:
            made = runs.finish_ready(session, build.id, facts, attempt=1, way="layered", stats={})
            return made.image


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook's server: what its catalog has, and its process to stop and start."""

    versions: Versions
    daemon: Daemon
    url: str
    authority: Authority
    certificate: Certificate

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=self.authority.path)
        try:
            found = httpx.get(f"{self.url}/healthz", verify=context, trust_env=False, timeout=5)
        except httpx.HTTPError:
            return False
        return found.status_code == 200


@pytest.fixture(scope="module")
def webhook(cluster: Cluster, helm: Helm) -> Iterator[Webhook]:
    """The server of `charts/kitbag` with admission, on a port of loopback instead of a Service."""
    port = free_port()
    with temp_dir("webhook") as folder:
        url = f"sqlite:///{folder}/catalog.db"
        migrate(url)
        engine = make_engine(url)
        authority = Authority(folder, "webhook-authority")
        certificate = authority.issue("webhook")
        environ = {
            **{key: value for key, value in os.environ.items() if key.startswith("PATH")},
            "KITBAG_DATABASE_URL": url,
            "KITBAG_DATA": str(folder / "data"),
            "KITBAG_ADMISSION_KEY": KEY,
            "KITBAG_ADMISSION_FRESH_S": "0",
            "KITBAG_ADMISSION_IMAGES": "docker.io/istio/*",
        }
        argv = [
            *(sys.executable, "-m", "server", "api", "--port", str(port)),
            *("--tls-cert", str(certificate.path), "--tls-key", str(certificate.key)),
        ]
        made = Webhook(
            Versions(engine),
            Daemon(
                argv,
                log=folder / "log",
                ready=lambda: made.answers(),
                timeout_s=120,
                env=environ,
            ),
            f"https://127.0.0.1:{port}",
            authority,
            certificate,
        )
        made.daemon.start()
        registered: list[str] = []
        try:
            for each in _registrations(helm, made):
                cluster.admin.apply(each)
                registered.append(f"{each['kind']}/{each['metadata']['name']}")
            yield made
        finally:
            # Other tests of this cluster are not about it.
            cluster.admin.kubectl("delete", *registered)
            made.daemon.stop()
            engine.dispose()


def _registrations(helm: Helm, webhook: Webhook) -> Iterator[Object]:
    """The chart's webhook configurations, led to a port: there is no Service without a network."""
    more: dict[str, Any] = {
        "admission": {
            "enabled": True,
            "key": KEY,
            "certificate": {
                "secretName": "tls",
                "caBundle": webhook.authority.path.read_text(),
            },
            "exempt": [EXEMPT],
            "defaults": [DEFAULT, NOTHING],
            "validate": {"enabled": True},
        }
    }
    for each in helm.objects(CHART, "kb", merged(example("smallest"), more)):
        if each["kind"].endswith("WebhookConfiguration"):
            for hook in each["webhooks"]:
                service = hook["clientConfig"].pop("service")
                hook["clientConfig"]["url"] = f"{webhook.url}{service['path']}"
            yield each


@pytest.fixture
def versions(webhook: Webhook) -> Versions:
    return webhook.versions
