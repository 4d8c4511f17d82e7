"""Images that a file keeps in parts, or offers several of, and notebooks with an image inside."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import Registry

from kitbag.specs import AmbiguousContainerError, Target, WriteError, pin

HEX = "c0ffee42" * 8
IMAGE = f"r.example.org:5000/kitbag/alice/3dgan@sha256:{HEX}"

HUB = """\
# values of Zero to JupyterHub
hub: {{db: {{type: sqlite-pvc}}}}
singleuser:
  image:
    name: {name}   # what everybody starts
    tag: "{tag}"
  extraImage: jupyter/base:1
"""
KUSTOMIZATION = """\
resources: [notebook.yaml]
images:
- name: gan3d          # a name in the resources
  newName: {name}
  digest: {digest}
"""


def test_jupyterhub_values_get_the_digest_split_over_name_and_tag() -> None:
    before = HUB.format(name="jupyter/minimal", tag="2024-01-01")
    pinned = pin(before.encode(), Target(image=IMAGE))
    name, _, _ = IMAGE.rpartition(":")
    assert pinned.data.decode() == HUB.format(name=name, tag=HEX)
    assert pin(pinned.data, Target(image=IMAGE)).changes == ()
    with_tag = pin(before.encode(), Target(image="r.io/a:v1")).data.decode()
    assert with_tag == HUB.format(name="r.io/a", tag="v1")


def test_a_profile_list_of_two_images_needs_a_name() -> None:
    text = """\
singleuser:
  profileList:
  - display_name: Small
    kubespawner_override: {image: a/small:1}
  - display_name: Large
    kubespawner_override: {image: a/large:1}
"""
    with pytest.raises(AmbiguousContainerError, match="Small, Large"):
        pin(text.encode(), Target(image=IMAGE))
    pinned = pin(text.encode(), Target(image=IMAGE), container="Large")
    assert pinned.data.decode() == text.replace("a/large:1", IMAGE)


def test_kustomize_gets_a_new_name_and_a_digest(registry: Registry) -> None:
    before = KUSTOMIZATION.format(name="old/name", digest=f"sha256:{'0' * 64}")
    name, _, digest = IMAGE.partition("@")
    after = KUSTOMIZATION.format(name=name, digest=digest)
    file = "dir/kustomization.yaml"
    assert pin(before.encode(), Target(image=IMAGE), filename=file).data.decode() == after
    assert pin(before.encode(), Target(image=IMAGE), filename="other.yaml").changes == ()
    reference = KUSTOMIZATION.format(name="kitbag://a/b", digest="")
    name, _, digest = registry.image("a/b").partition("@")
    pinned = pin(reference.encode(), registry, filename=file)
    assert pinned.data.decode() == KUSTOMIZATION.format(name=name, digest=digest)


def test_missing_parts_are_added_and_stale_ones_refused() -> None:
    text = "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\nimages:\n- name: a\n"
    name, _, digest = IMAGE.partition("@")
    pinned = pin(text.encode(), Target(image=IMAGE)).data.decode()
    assert pinned == f"{text}  newName: {name}\n  digest: {digest}\n"
    assert pin(pinned.encode(), Target(image=IMAGE)).changes == ()
    with pytest.raises(WriteError, match="no digest"):
        pin(pinned.encode(), Target(image="r.io/a:v1"))


@pytest.mark.parametrize("key", ["base_image", "docker_image"])
def test_a_kale_notebook_keeps_its_bytes_but_for_the_image(key: str) -> None:
    notebook = {
        "cells": [
            {"cell_type": "code", "source": ['x = "\\u00e9"\n', "image: old"], "outputs": []}
        ],
        "metadata": {"kubeflow_notebook": {key: "old", "pipeline_name": "gan3d"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    for indent in (1, 4, None):
        text = json.dumps(notebook, indent=indent)
        pinned = pin(text.encode(), Target(image=IMAGE), filename="a.ipynb")
        assert pinned.data.decode() == text.replace(f'"{key}": "old"', f'"{key}": "{IMAGE}"')


def test_the_cells_of_a_kale_notebook_say_their_image_in_a_tag() -> None:
    def cell(name: str, *tags: str) -> dict[str, object]:
        return {"cell_type": "code", "id": name, "metadata": {"tags": list(tags)}, "source": ["x"]}

    notebook = {
        "cells": [
            cell("one", "step:load", "image:old", "limit:nvidia.com/gpu:1"),
            cell("two", "step:train", "prev:load", "image:old"),
            cell("three", "skip"),
            {"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["image:old"]},
        ],
        "metadata": {"kubeflow_notebook": {"base_image": "other", "pipeline_name": "p"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    pinned = pin(text.encode(), Target(image=IMAGE), filename="a.ipynb")
    after = text.replace('"image:old",', f'"image:{IMAGE}",').replace(
        '"image:old"\n    ]', f'"image:{IMAGE}"\n    ]'
    )
    assert pinned.data.decode() == after.replace('"other"', f'"{IMAGE}"')
    assert [change.before for change in pinned.changes] == ["old", "old", "other"]
    assert pin(pinned.data, Target(image=IMAGE)).changes == ()
    one = pin(text.encode(), Target(image=IMAGE), container="two")
    assert one.data.decode() == text.replace('"image:old"\n    ]', f'"image:{IMAGE}"\n    ]')


def test_a_reference_in_a_tag_is_resolved(registry: Registry) -> None:
    text = """{"nbformat": 4, "metadata": {"kubeflow_notebook": {}}, "cells":
      [{"metadata": {"tags": ["image:kitbag://a/b", "step:x"]}}]}"""
    pinned = pin(text.encode(), registry)
    assert pinned.data.decode() == text.replace("kitbag://a/b", registry.image("a/b"))


def test_an_elyra_runtime_image_is_pinned() -> None:
    text = """{
    "display_name": "3dgan",
    "schema_name": "runtime-image",
    "metadata": {"image_name": "old", "pull_policy": "IfNotPresent", "tags": ["old"]}
}"""
    pinned = pin(text.encode(), Target(image=IMAGE))
    assert pinned.data.decode() == text.replace('"image_name": "old"', f'"image_name": "{IMAGE}"')


def test_the_choices_of_a_profile_are_named_by_their_keys() -> None:
    text = """jupyterhub:
  singleuser:
    profileList:
    - display_name: Any
      profile_options:
        image:
          choices:
            stable: {display_name: Stable, kubespawner_override: {image: a/stable:1}}
            next: {display_name: Next, kubespawner_override: {image: a/next:1}}
"""
    pinned = pin(text.encode(), Target(image=IMAGE), container="next")
    assert pinned.data.decode() == text.replace("a/next:1", IMAGE)


SPAWNER = """# What the form offers.
spawnerFormDefaults:
  image:
    # the one that is chosen
    value: {ours}
    options:
    - {ours}   # ours
    - ghcr.io/kubeflow/jupyter-scipy:v1.9.2
  imageGroupOne:
    value: ghcr.io/kubeflow/codeserver-python:v1.9.2
    options: [ghcr.io/kubeflow/codeserver-python:v1.9.2, '{ours}']
  allowCustomImage: true
"""
OLDER = "r.example.org:5000/kitbag/alice/3dgan@sha256:" + "0" * 64


def in_a_config_map(text: str) -> str:
    body = "".join(f"    {line}" if line.strip() else line for line in text.splitlines(True))
    return (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: jupyter-web-app-config}\ndata:\n"
        f"  other.yaml: |\n    image: {OLDER}\n  spawner_ui_config.yaml: |\n{body}"
    )


@pytest.mark.parametrize("wrapped", [str, in_a_config_map])
def test_a_list_of_images_to_start_gets_the_new_version_of_what_it_offers(
    wrapped: Callable[[str], str],
) -> None:
    before = wrapped(SPAWNER.format(ours=OLDER))
    pinned = pin(before.encode(), Target(image=IMAGE))
    assert pinned.data.decode() == wrapped(SPAWNER.format(ours=IMAGE)).replace(
        f"image: {IMAGE}\n  spawner", f"image: {OLDER}\n  spawner"
    )
    assert pin(pinned.data, Target(image=IMAGE)).data == pinned.data


def test_another_image_of_the_list_is_replaced_when_it_is_asked_for() -> None:
    before = SPAWNER.format(ours="quay.io/other/env:1")
    silent = pin(before.encode(), Target(image=IMAGE))
    assert silent.data.decode() == before
    assert "quay.io/other/env, ghcr.io/kubeflow/jupyter-scipy" in silent.skipped[0]
    asked = pin(before.encode(), Target(image=IMAGE), container="quay.io/other/env")
    assert asked.data.decode() == SPAWNER.format(ours=IMAGE)
    again = pin(asked.data, Target(image=IMAGE), container="quay.io/other/env")
    assert again.data == asked.data


def test_elyra_pipelines_get_it_in_every_node_and_the_default() -> None:
    pipeline = {
        "doc_type": "pipeline",
        "primary_pipeline": "p",
        "pipelines": [
            {
                "nodes": [
                    {"app_data": {"component_parameters": {"runtime_image": "old"}}},
                    {"app_data": {"component_parameters": {"runtime_image": "old"}}},
                ],
                "app_data": {"properties": {"pipeline_defaults": {"runtime_image": "old"}}},
            }
        ],
    }
    text = json.dumps(pipeline, indent=4)
    pinned = pin(text.encode(), Target(image=IMAGE), filename="a.pipeline")
    assert pinned.data.decode() == text.replace('"old"', f'"{IMAGE}"')
    assert len(pinned.changes) == 3
