"""Argo Workflows that Hera wrote, with an environment's image."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hera.workflows import Container, Steps, Workflow, script

from kitbag import Files
from kitbag import kfp as kitbag_kfp
from kitbag.kfp import Environments, image

from .conftest import Run, Server

NAME = "hera/gan"


@pytest.fixture(scope="module")
def ref(server: Server) -> str:
    with server.client() as client:
        build = client.build(Files({"requirements.txt": "six\n"}), name=NAME)
        return str(client.wait(build).image)


def workflow(of: str) -> str:
    """A workflow with a script and a container of an image, as Hera writes it."""

    @script(image=of)
    def train(rows: int) -> None:
        print(rows)

    with Workflow(generate_name="gan-", entrypoint="main") as made:
        report = Container(name="report", image=of, command=["true"])
        with Steps(name="main"):
            train(arguments={"rows": 1})
            report()
    return str(made.to_yaml())


def images(text: str) -> list[Any]:
    templates = yaml.safe_load(text)["spec"]["templates"]
    bodies = (one.get("container") or one.get("script") for one in templates)
    return [body["image"] for body in bodies if body]


def test_a_hera_template_gets_the_digest_as_it_is_compiled(
    ref: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.client() as client:
        monkeypatch.setattr(kitbag_kfp, "_process", Environments(client))
        assert images(workflow(image(NAME))) == [ref, ref]


def test_what_hera_wrote_with_a_reference_is_pinned_and_nothing_else_changes(
    ref: str, server: Server, kitbag: Run, tmp_path: Path
) -> None:
    text = workflow(f"kitbag://{NAME}")
    (tmp_path / "gan.yaml").write_text(text)
    done = kitbag("pin", "gan.yaml", env=server.env)
    assert done.stdout == text.replace(f"kitbag://{NAME}", ref)
    assert images(done.stdout) == [ref, ref]
