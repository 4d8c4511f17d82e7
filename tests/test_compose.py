"""compose.yaml is what Compose's own schema says, and sets what the server reads."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import needed
from rig.golang import downloaded
from ruamel.yaml import YAML

from api.settings import ApiSettings
from server.cli import server
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
SPECIFICATION = (
    "github.com/compose-spec/compose-go/v2@v2.9.0",
    "h1:UHSv/QHlo6QJtrT4igF1rdORgIUhDo1gWuyJUoiNNIM=",
)
KITBAGS = ("migrate", "api", "worker")


@pytest.fixture(scope="module")
def compose() -> Any:
    return YAML(typ="safe").load(ROOT / "compose.yaml")


@pytest.mark.rig
def test_it_is_what_the_specification_allows(compose: Any) -> None:
    with needed():
        schema = downloaded(*SPECIFICATION) / "schema/compose-spec.json"
    specification = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    specification.validate(compose)
    wrong = deepcopy(compose)
    wrong["services"]["api"]["readonly"] = True
    with pytest.raises(jsonschema.ValidationError):
        specification.validate(wrong)


def test_its_variables_are_settings_and_its_commands_are_the_servers(compose: Any) -> None:
    fields = {*ApiSettings.model_fields, *WorkerSettings.model_fields}
    known = {f"KITBAG_{name.upper()}" for name in fields} | {"HOME"}
    for name in KITBAGS:
        service = compose["services"][name]
        assert set(service["environment"]) <= known
        assert service["command"][0] in server.commands


def test_what_must_be_given_is_in_the_example_and_what_may_be_in_the_documentation() -> None:
    text = (ROOT / "compose.yaml").read_text()
    example = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+):\?", text)) <= example
    told = (ROOT / "docs/deploy.md").read_text()
    for variable in re.findall(r"\$\{(\w+)", text):
        assert f"`{variable}`" in told


def test_nothing_is_open_to_other_machines_unless_somebody_says_so(compose: Any) -> None:
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert "127.0.0.1" in port
    for name in KITBAGS:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
