"""What a person copies from a version's page: the same digest for every place it goes to."""

from __future__ import annotations

from dataclasses import dataclass

from api.environments.schemas import VersionOut


@dataclass(frozen=True, slots=True)
class Snippet:
    """A title and the text to copy."""

    title: str
    text: str


def of(version: VersionOut) -> list[Snippet]:
    """The snippets of one version, the most general first."""
    name = f"{version.environment}:{version.number}"
    image = version.image
    return [
        Snippet("Image", image),
        Snippet("Resolve", f"kitbag resolve {name}"),
        Snippet("Pin manifests", f"kitbag pin k8s/ pipeline.yaml --env {name} -i"),
        Snippet("In any manifest", f"image: kitbag://{name}"),
        Snippet(
            "Kubeflow Pipelines",
            "from kfp import dsl\n\n"
            "@dsl.component(\n"
            f'    base_image="{image}",\n'
            "    install_kfp_package=False,\n"
            ")\n"
            "def train() -> None: ...",
        ),
        Snippet("Kale notebook", f'"kubeflow_notebook": {{\n    "base_image": "{image}"\n}}'),
        Snippet("TFJob", f"containers:\n- name: tensorflow\n  image: {image}"),
        Snippet("Run it here", f"docker run --rm -p 8888:8888 {image}"),
    ]
