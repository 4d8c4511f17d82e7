"""Alerts and dashboard ask for metrics that the server really has, with labels that they have."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from charts.conftest import CHART
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from rig.redis import RedisServer
from ruamel.yaml import YAML

from api.app import create_app
from api.settings import ApiSettings
from catalog.engine import migrate

pytestmark = pytest.mark.rig
KEY = "k3y0fthewebh00k0"
SCRAPED = {"namespace", "pod", "job", "le"}
"""Labels that Prometheus adds, and that of a histogram's buckets."""
_SELECTED = re.compile(r"(kitbag_\w+)(?:\{([^}]*)\})?")
_GROUPED = re.compile(r"by \(([^)]*)\)")


async def asked(app: FastAPI, review: dict[str, Any]) -> str:
    """What /metrics says of an app that was asked about an object, and for its builds."""
    served = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=served, base_url="http://127.0.0.1") as http:
        answer = await http.post(f"/v1/admission/{KEY}", json=review)
        assert answer.status_code == 200, answer.text
        assert (await http.get("/v1/builds")).status_code == 200
        return (await http.get("/metrics")).text


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> dict[str, set[str]]:
    """The labels of each sample of /metrics, once every kind of request was made."""
    folder = tmp_path_factory.mktemp("metrics")
    url = f"sqlite:///{folder}/catalog.db"
    migrate(url)
    settings = ApiSettings(database_url=url, data=folder, admission_key=KEY)  # type: ignore[arg-type]
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "operation": "CREATE",
            "namespace": "a",
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}},
        },
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KITBAG_BROKER_URL", redis_server.new_database())
        text = asyncio.run(asked(create_app(settings), review))
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def expressions() -> Iterator[str]:
    """Every expression of the rules and of the dashboard."""
    rules: Any = YAML(typ="safe").load(CHART / "monitoring/rules.yaml")
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    dashboard = json.loads((CHART / "monitoring/dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_asks_for_what_is_told(expression: str, told: dict[str, set[str]]) -> None:
    selected = _SELECTED.findall(expression)
    assert selected
    for name, matchers in selected:
        assert name in told
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= told[name] | SCRAPED
    grouped = {
        label.strip() for found in _GROUPED.findall(expression) for label in found.split(",")
    }
    assert grouped <= set().union(*(told[name] for name, _ in selected)) | SCRAPED


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    rules: Any = YAML(typ="safe").load(CHART / "monitoring/rules.yaml")
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert len({alert["alert"] for alert in alerts}) == len(alerts) >= 5
    for alert in alerts:
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["for"] and alert["annotations"]["summary"].endswith(".")
        assert alert["annotations"]["description"].endswith(".")
